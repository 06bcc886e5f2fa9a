"""The settings of a launched sweep: how they are stored, and whom they are taken from.

``sweep.yaml`` is for reading and holds no secrets. If there are any, ``private.yaml``, which only
its owner can read, has the keys with them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.dataclass_conversion import build, check
from xray_hpc.config.override_text import quote_text
from xray_hpc.config.report_settings import ReportSettings
from xray_hpc.config.secret_values import is_masked, mask_cluster, restore_secrets
from xray_hpc.config.yaml_files import read_owned_yaml, to_yaml
from xray_hpc.errors import ConfigError
from xray_hpc.file_owner import is_own, uid_name
from xray_hpc.printable import printable
from xray_hpc.records.atomic_files import write_text
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.saved_report_settings import read_report_settings
from xray_hpc.shared_folder import GUARDED, PRIVATE

SECTIONS = ("cluster.", "report.")
SWITCHES = ("wait", "dry_run")
# Keys whose values are executed, or that name a program; sbatch options may run one too (bcast).
EXECUTED = ("setup", "container", "python", "extra")


def write_settings(sweep: SweepPaths, content: Mapping[str, Any], cluster: ClusterConfig) -> None:
    """Write ``sweep.yaml`` with ``content`` and the settings, and ``private.yaml`` if needed.

    Print a note if the settings are no longer those of another user.
    """
    masked = mask_cluster(cluster)
    with contextlib.suppress(FileNotFoundError):
        owner = os.stat(sweep.sweep_yaml).st_uid
        if owner != os.geteuid():
            print(f"note: {sweep.sweep_yaml} of {uid_name(owner)} now has your cluster settings")
    if masked != cluster:
        shown = asdict(masked)
        secret = {key: value for key, value in asdict(cluster).items() if value != shown[key]}
        write_text(sweep.private_yaml, to_yaml({"cluster": secret}), PRIVATE)
    write_text(sweep.sweep_yaml, to_yaml({**content, "cluster": asdict(masked)}), GUARDED)
    if masked == cluster:
        sweep.private_yaml.unlink(missing_ok=True)


def read_settings(sweep: SweepPaths, words: Sequence[str], *, trust: bool) -> dict[str, Any]:
    """Return ``cluster``, ``report`` and the switches, with the overrides ``words``.

    Args:
        trust: take what is executed also from a file that others may have written.

    Raises:
        ConfigError: a file is invalid or not trusted, an override is invalid, or a secret is
            missing.
    """
    saved, status = _read_cluster(sweep.sweep_yaml)
    values: dict[str, Any] = {"cluster": dict(saved), **dict.fromkeys(SWITCHES, False)}
    values["report"] = asdict(read_report_settings(sweep))
    _apply_overrides(values, words)
    given = {word.partition("=")[0] for word in words}
    if not trust:
        _check_executed(sweep.sweep_yaml, status, saved, values["cluster"], given)
    if masked := [key for key, value in values["cluster"].items() if is_masked(value)]:
        saved, status = _read_private(sweep, masked)
        values["cluster"] |= _restore(sweep, values["cluster"], saved, masked)
        if not trust:
            _check_executed(sweep.private_yaml, status, saved, values["cluster"], given)
    for key in SWITCHES:
        check(isinstance(values[key], bool), key, values[key], "be true or false")
    return values | {
        "cluster": build(ClusterConfig, values["cluster"], "cluster"),
        "report": build(ReportSettings, values["report"], "report"),
    }


def _read_cluster(file: Path) -> tuple[Mapping[str, Any], os.stat_result]:
    content, status = read_owned_yaml(file)
    cluster = content.get("cluster")
    if not isinstance(cluster, Mapping):
        raise ConfigError(f"{file} has no 'cluster'; run the sweep's own command again")
    return cluster, status


def _read_private(
    sweep: SweepPaths, masked: Sequence[str]
) -> tuple[Mapping[str, Any], os.stat_result]:
    """Read the keys that are masked in ``sweep.yaml``."""
    file = sweep.private_yaml
    try:
        status = os.stat(file)
        if not os.access(file, os.R_OK):
            fix = f"only {uid_name(status.st_uid)} can read it and resume the sweep"
            raise ConfigError(f"{file} holds secrets; {fix}, or give {_words(masked)} anew")
    except FileNotFoundError:
        problem = f"{file} is missing, and holds the secrets of {sweep.sweep_yaml}"
        raise ConfigError(f"{problem}; give {_words(masked)} anew") from None
    return _read_cluster(file)


def _restore(
    sweep: SweepPaths, cluster: Mapping[str, Any], saved: Mapping[str, Any], masked: Sequence[str]
) -> dict[str, Any]:
    """Return the masked keys with their secrets, and the other edits of ``sweep.yaml``."""
    restored = {key: restore_secrets(cluster[key], saved.get(key)) for key in masked}
    if left := [key for key, value in restored.items() if is_masked(value)]:
        problem = f"{sweep.private_yaml} has no secret for a masked value of {sweep.sweep_yaml}"
        raise ConfigError(f"{problem}; give {_words(left)} anew")
    return restored


def _words(keys: Sequence[str]) -> str:
    return ", ".join(f"cluster.{key}" for key in keys)


def _check_executed(
    file: Path,
    status: os.stat_result,
    saved: Mapping[str, Any],
    cluster: Mapping[str, Any],
    given: set[str],
) -> None:
    """Show the values of a file of others that would be executed, and refuse them."""
    if is_own(status):
        return
    foreign = {}
    for key in EXECUTED:
        value = saved.get(key)
        if isinstance(value, Mapping) and isinstance(cluster.get(key), Mapping):
            value = {name: at for name, at in value.items() if cluster[key].get(name) == at}
        elif f"cluster.{key}" in given:
            continue
        if value:
            foreign[key] = value
    if foreign:
        for key, value in foreign.items():
            print(printable(f"cluster.{key}: {value}"), file=sys.stderr)
        owner = uid_name(status.st_uid)
        who = f"belongs to {owner}" if status.st_uid != os.geteuid() else "can be written by others"
        keys = _words(list(foreign))
        raise ConfigError(f"{file} {who}; its {keys} run as you, so check them, then add --trust")


def _apply_overrides(values: dict[str, Any], words: Sequence[str]) -> None:
    """Apply overrides to nested mappings as Hydra does."""
    for word in words:
        key = word.partition("=")[0]
        if "=" not in word or not (key.startswith(SECTIONS) or key in SWITCHES):
            keys = [f"{section}KEY=VALUE" for section in SECTIONS]
            valid = ", ".join([*keys, *(f"{key}=true" for key in SWITCHES)])
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
