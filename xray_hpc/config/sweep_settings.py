"""Settings of a sweep that do not change its results: cluster, report, folders, name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.dataclass_conversion import build, check
from xray_hpc.config.report_settings import ReportSettings
from xray_hpc.config.run_config import RunConfig
from xray_hpc.config.train_config import NEUTRAL_KEYS
from xray_hpc.errors import ConfigError

MAX_NAME = 100  # characters


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """Where a sweep runs and where its files go; not part of a run's identity.

    Attributes:
        cluster: Where the runs execute, and with which resources.
        report: What the comparison of the runs chooses and shows.
        name: Folder of the sweep under ``results``, at most 100 letters, digits and ``. _ - + =``;
            unset: derived from the command.
        results: Folder that holds all sweeps.
        cache: Folder for stored images, the demo set and cached features; unset: ``.cache`` under
            ``results``. A scratch file system suits it.
        wait: On Slurm, wait until all runs have ended, then compare them.
        dry_run: Show what would be submitted, and submit nothing.
    """

    cluster: ClusterConfig
    report: ReportSettings = field(default_factory=ReportSettings)
    name: str
    results: Path = Path("results")
    cache: Path
    wait: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        fits = re.fullmatch(r"\w[\w.+=-]*", self.name) and len(self.name) <= MAX_NAME
        must = f"be a letter or digit, then letters, digits and . _ - + =, at most {MAX_NAME}"
        check(bool(fits), "name", f"'{self.name}'", must)

    @property
    def folder(self) -> Path:
        """The folder of the sweep."""
        return self.results / self.name


RUN_KEYS = tuple(item.name for item in dataclasses.fields(RunConfig))
SWEEP_KEYS = tuple(item.name for item in dataclasses.fields(SweepSettings))


def read_sweep_settings(values: Mapping[str, Any], default_name: str) -> SweepSettings:
    """Build the sweep's settings from a composed configuration, whose run keys are ignored.

    Raises:
        ConfigError: A key is unknown or missing, a value is invalid, or ``results`` lies below a
            file.
    """
    given = {key: value for key, value in values.items() if key not in RUN_KEYS}
    for key in given:
        if key not in SWEEP_KEYS:
            raise ConfigError(f"{key} is unknown (valid: {', '.join(RUN_KEYS + SWEEP_KEYS)})")
    if "name" in given:
        given["name"] = default_name if given["name"] in (None, "") else str(given["name"])
    settings = build(SweepSettings, given)
    folder = settings.folder
    # pathlib would raise for a folder without access.
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if not existing.is_dir():
        key, value = ("name", settings.name) if existing == folder else ("results", folder.parent)
        raise ConfigError(f"{key} is {value}, but {existing} is a file; name a folder")
    return settings


def derive_sweep_name(base: str, overrides: Sequence[str]) -> str:
    """Return the name of a sweep that the user did not name.

    Args:
        base: What the sweep is about: its sweep, experiment or data set.
        overrides: The command's other overrides. Those that decide a result are hashed into the
            name, so that the same command always names the same sweep.
    """
    decisive = [word for word in overrides if decides_result(word.lstrip("+~").split("=")[0])]
    if not decisive:
        return base
    return f"{base}-{hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:6]}"


def decides_result(key: str) -> bool:
    """Return whether a dotted key is part of a run's identity."""
    section, _, rest = key.partition(".")
    if section == "train":
        return rest.partition(".")[0] not in NEUTRAL_KEYS
    return section not in SWEEP_KEYS
