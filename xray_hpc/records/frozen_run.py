"""``config.yaml``: the resolved configuration of a run, frozen when the run was created."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from xray_hpc.config.dataclass_conversion import build, check
from xray_hpc.config.run_config import RunConfig
from xray_hpc.config.train_config import NEUTRAL_KEYS
from xray_hpc.config.yaml_files import YAML_LIMIT, read_yaml, to_yaml
from xray_hpc.errors import ConfigError, DataError
from xray_hpc.records.atomic_files import write_text
from xray_hpc.records.paths import RunPaths
from xray_hpc.regular_file import read_regular
from xray_hpc.shared_folder import make_folder

AGAIN = "run the sweep's own command to write it again"


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
        del content["data"]["root"]
        for key in NEUTRAL_KEYS:
            del content["train"][key]
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
    """Write ``config.yaml``, unless it has the same content already, into the run's folder.

    The folder is created unless it exists.
    """
    content = asdict(run.config) | {"inputs": asdict(run.inputs), "cache": str(run.cache)}
    text = to_yaml(content)
    with contextlib.suppress(OSError):
        if read_regular(paths.config, YAML_LIMIT) == text.encode():
            return
    make_folder(paths.folder)
    write_text(paths.config, text)


def read_frozen_run(paths: RunPaths) -> FrozenRun:
    """Read ``config.yaml``, whose content is that of the run that its folder is named for.

    Raises:
        DataError: there is none, it is damaged, or it is that of another run.
    """
    if not os.path.lexists(paths.config):
        raise DataError(f"{paths.folder} is not a run folder: it holds no config.yaml; {AGAIN}")
    try:
        run = _parse(paths.config)
    except ConfigError as error:
        problem = str(error).replace(f"{paths.config}", "").lstrip(", :")
        raise DataError(f"{paths.config} is damaged ({problem}); {AGAIN}") from error
    if run.name != paths.name:
        raise DataError(f"{paths.config} is that of {run.name}; it was changed, so {AGAIN}")
    return run


def _parse(config: Path) -> FrozenRun:
    content = read_yaml(config)
    cache, inputs = content.pop("cache", None), content.pop("inputs", None)
    check(isinstance(cache, str), "cache", cache, "be a folder")
    check(isinstance(inputs, dict), "inputs", inputs, "be a mapping")
    found = build(Inputs, inputs, "inputs")
    return FrozenRun(build(RunConfig, content), found, Path(cache))
