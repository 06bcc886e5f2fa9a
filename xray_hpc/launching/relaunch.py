"""Launch a sweep again from its own files, without composing its configuration anew."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.dataclass_conversion import build, check
from xray_hpc.config.override_text import quote_text
from xray_hpc.config.sweep_settings import SweepSettings
from xray_hpc.config.yaml_files import read_yaml
from xray_hpc.errors import (
    ConfigError,
    LockedError,
    NoClusterError,
    SlurmUnavailableError,
    StorageError,
    SubmissionUnknownError,
    SubmitLimitError,
    UserError,
)
from xray_hpc.launching.launch_sweep import launch
from xray_hpc.launching.plan import Plan
from xray_hpc.records import ledger
from xray_hpc.records.frozen_run import FrozenRun, read_frozen_run
from xray_hpc.records.paths import SweepPaths

SWITCHES = ("wait", "dry_run")
RETRY_SECONDS = 60.0
ATTEMPTS = 50  # a collect job has an hour, unless cluster.cpu_job.time says otherwise
TRANSIENT = (
    NoClusterError,  # from a configless cluster while the controller restarts
    SlurmUnavailableError,
    SubmissionUnknownError,
    SubmitLimitError,
    LockedError,
    StorageError,
)


def resume(sweep: SweepPaths, words: Sequence[str] = ()) -> int:
    """Launch every run of the sweep that is not finished; return the exit code.

    Args:
        words: overrides of where and how it runs, such as ``cluster.mem=32G`` or ``wait=true``.

    Raises:
        UserError: an override is invalid, or the launch fails as in :func:`launch`.
    """
    plan = _read_plan(sweep, list(ledger.read(sweep).planned), words)
    command = read_yaml(sweep.sweep_yaml).get("command")
    words = command if isinstance(command, list) else []
    return launch(plan, [str(word) for word in words])


def submit_waiting(sweep: SweepPaths) -> None:
    """Submit the runs that exceeded the submit limit before, if any; retry for an hour.

    Raises:
        UserError: the runs cannot be submitted, or Slurm did not accept them in that hour.
    """
    for left in range(ATTEMPTS - 1, -1, -1):
        if not (waiting := ledger.read(sweep).waiting):
            return
        try:
            launch(_read_plan(sweep, waiting, ()), None, wait_for_lock=True)
            return
        except TRANSIENT as error:
            if not left:
                raise
            print(f"{error}; retrying", file=sys.stderr, flush=True)
            time.sleep(RETRY_SECONDS)


def _read_plan(sweep: SweepPaths, names: Sequence[str], words: Sequence[str]) -> Plan:
    """Plan the runs ``names`` from their frozen configurations; note those that are unreadable."""
    if not sweep.sweep_yaml.is_file():
        raise ConfigError(f"{sweep.folder} has no sweep.yaml; run the sweep's own command again")
    runs, damaged = list[FrozenRun](), dict[str, str]()
    for name in names:
        try:
            runs.append(read_frozen_run(sweep.run(name)))
        except UserError as error:
            damaged[name] = f"{name} is not resumed: {error}"
    if not runs:
        raise ConfigError(f"{sweep.folder} has no readable run; run the sweep's own command again")
    settings, planned = _read_settings(sweep, runs[0], words), ledger.read(sweep).planned
    notes = tuple(damaged.values())
    return Plan(settings, tuple(runs), planned, notes, unreadable=tuple(damaged))


def _read_settings(sweep: SweepPaths, run: FrozenRun, words: Sequence[str]) -> SweepSettings:
    """Return the sweep's settings with the overrides ``words``."""
    saved = read_yaml(sweep.sweep_yaml).get("cluster")
    if not isinstance(saved, Mapping):
        raise ConfigError(f"{sweep.sweep_yaml} has no 'cluster'; run the sweep's own command again")
    values: dict[str, Any] = {"cluster": dict(saved), **dict.fromkeys(SWITCHES, False)}
    _apply_overrides(values, words)
    for key in SWITCHES:
        check(isinstance(values[key], bool), key, values[key], "be true or false")
    values["cluster"] = build(ClusterConfig, values["cluster"], "cluster")
    folder = sweep.folder
    return SweepSettings(name=folder.name, results=folder.parent, cache=run.cache, **values)


def _apply_overrides(values: dict[str, Any], words: Sequence[str]) -> None:
    """Apply overrides to nested mappings as Hydra does."""
    for word in words:
        key = word.partition("=")[0]
        if "=" not in word or not (key.startswith("cluster.") or key in SWITCHES):
            valid = ", ".join(["cluster.KEY=VALUE", *(f"{key}=true" for key in SWITCHES)])
            problem = f"{word} is not valid with --resume, which does not change runs"
            raise ConfigError(f"{problem} (valid: {valid})")
    try:
        for override in OverridesParser.create().parse_overrides(quote_text(words)):
            *above, last = override.key_or_group.split(".")
            inner, value = values, override.value()
            for key in above:
                if not isinstance(inner.get(key), dict):
                    inner[key] = {}
                inner = inner[key]
            if isinstance(value, dict) and isinstance(inner.get(last), dict):
                value = inner[last] | value  # Hydra merges mappings
            inner[last] = value
    except HydraException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
