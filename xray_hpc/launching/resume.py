"""A sweep launched again from its own files, with nothing composed anew."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.schema import build, check
from xray_hpc.config.sweep_settings import SweepSettings
from xray_hpc.config.yaml_files import read_yaml
from xray_hpc.errors import (
    ConfigError,
    LockedError,
    SlurmUnavailableError,
    StorageError,
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
TRANSIENT = (SlurmUnavailableError, SubmitLimitError, LockedError, StorageError)


def resume(sweep: SweepPaths, words: Sequence[str] = ()) -> int:
    """Launch every run of the sweep that is not finished; give the exit code of a launch.

    ``words`` change where and how it runs: ``cluster.mem=32G``, ``wait=true``, ``dry_run=true``.

    Raises:
        UserError: there is no such sweep, a word is wrong, or the launch is refused.
    """
    return launch(_plan(sweep, list(ledger.read(sweep).planned), words), _command(sweep))


def submit_waiting(sweep: SweepPaths) -> None:
    """Submit the runs that exceeded the submit limit before, if any; retry for an hour.

    Raises:
        UserError: the runs cannot be submitted, or Slurm did not accept them in that hour.
    """
    for left in range(ATTEMPTS - 1, -1, -1):
        if not (waiting := ledger.read(sweep).waiting):
            return
        try:
            launch(_plan(sweep, waiting, ()), None, wait_for_lock=True)
            return
        except TRANSIENT as error:
            if not left:
                raise
            print(f"{error}; retrying", file=sys.stderr, flush=True)
            time.sleep(RETRY_SECONDS)


def _command(sweep: SweepPaths) -> list[str]:
    return list(read_yaml(sweep.sweep_yaml)["command"])


def _plan(sweep: SweepPaths, names: Sequence[str], words: Sequence[str]) -> Plan:
    if not sweep.sweep_yaml.is_file():
        raise ConfigError(f"{sweep.folder} holds no sweep.yaml; launch it again by its command")
    runs, lost = list[FrozenRun](), dict[str, str]()
    for name in names:
        try:
            runs.append(read_frozen_run(sweep.run(name)))
        except UserError as error:
            lost[name] = str(error)
    if not runs:
        raise ConfigError(f"no run of {sweep.folder} can be read; launch it again by its command")
    anew = "only the sweep's own command makes it anew"
    notes = tuple(f"{name}: {why}; {anew}" for name, why in lost.items())
    settings = _settings(sweep, runs[0], words)
    return Plan(settings, tuple(runs), ledger.read(sweep).planned, notes)


def _settings(sweep: SweepPaths, run: FrozenRun, words: Sequence[str]) -> SweepSettings:
    before = read_yaml(sweep.sweep_yaml).get("cluster")
    if not isinstance(before, Mapping):
        raise ConfigError(f"{sweep.sweep_yaml} lacks 'cluster'; launch the sweep by its command")
    given = _given(words)
    values = _merged({"cluster": dict(before)}, given)
    cluster = build(ClusterConfig, values["cluster"], "cluster")
    switches = {key: given.get(key, False) for key in SWITCHES}
    for key, value in switches.items():
        check(isinstance(value, bool), key, value, "be true or false")
    return SweepSettings(
        cluster=cluster,
        name=sweep.folder.name,
        results=sweep.folder.parent,
        cache=run.cache,
        **switches,
    )


def _given(words: Sequence[str]) -> dict[str, Any]:
    for word in words:
        key = word.partition("=")[0]
        if "=" not in word or not (key.startswith("cluster.") or key in SWITCHES):
            known = ", ".join(f"{key}=true" for key in SWITCHES)
            raise ConfigError(
                f"{word} cannot be given with --resume, which changes no run; it takes "
                f"cluster.KEY=VALUE, {known}"
            )
    given: dict[str, Any] = {}
    try:
        for override in OverridesParser.create().parse_overrides(list(words)):
            *above, last = override.key_or_group.split(".")
            inner = given
            for key in above:
                inner = inner.setdefault(key, {})
            inner[last] = override.value()
    except HydraException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    return given


def _merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in given.items():
        inner = merged.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            value = _merged(inner, value)
        merged[key] = value
    return merged
