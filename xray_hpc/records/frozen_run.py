"""``config.yaml``: the resolved configuration of a run, frozen when the run was created."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from xray_hpc.config.dataclass_conversion import build
from xray_hpc.config.run_config import RunConfig
from xray_hpc.config.yaml_files import read_yaml, to_yaml
from xray_hpc.errors import DataError
from xray_hpc.records.atomic_files import write_text
from xray_hpc.records.paths import RunPaths


@dataclass(frozen=True)
class Inputs:
    """The inputs of a run, identified by their content."""

    data: str  # fingerprint of the data index
    # SHA-256 of the weights file of each backbone, by its name
    weights: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FrozenRun:
    """All that a job needs to know about a run; ``cache`` is the folder of shared caches."""

    config: RunConfig
    inputs: Inputs
    cache: Path

    @functools.cached_property
    def name(self) -> str:
        """``<model>-<hash>`` of what the run computes, independent of where its files are."""
        content = asdict(self.config)
        del content["data"]["root"], content["train"]["checkpoint"]
        model, digests = content["model"], self.inputs.weights
        if digests and model["backbones"] is None:
            del model["weights"]
        elif digests:
            starts = model["backbones"].items()
            model["backbones"] = {name: start for name, start in starts if name not in digests}
        content["inputs"] = asdict(self.inputs)
        text = json.dumps(content, sort_keys=True)
        return f"{self.config.model.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def write_frozen_run(paths: RunPaths, run: FrozenRun) -> None:
    """Write ``config.yaml``."""
    content = asdict(run.config) | {"inputs": asdict(run.inputs), "cache": str(run.cache)}
    write_text(paths.config, to_yaml(content))


def read_frozen_run(paths: RunPaths) -> FrozenRun:
    """Read ``config.yaml``; raise ``ConfigError`` or ``DataError`` if it is not one of a run."""
    if not paths.config.is_file():
        raise DataError(f"{paths.folder} is not a run folder: it holds no config.yaml")
    content = read_yaml(paths.config)
    cache, inputs = content.pop("cache", None), content.pop("inputs", None)
    if not isinstance(cache, str) or not isinstance(inputs, dict):
        raise DataError(f"{paths.config} lacks 'cache' or 'inputs'; launch the run again")
    return FrozenRun(build(RunConfig, content), build(Inputs, inputs, "inputs"), Path(cache))
