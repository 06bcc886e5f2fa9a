"""The options of a launch that come from ``SBATCH_...`` variables of the user."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import ConfigError
from xray_hpc.slurm.environment import SUBMISSION_OPTIONS
from xray_hpc.slurm.scontrol import settings

KEYS = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
}


def inherit_options(cluster: ClusterConfig) -> tuple[ClusterConfig, list[str]]:
    """Set unset keys of ``cluster`` from the environment; return it with notes on the variables.

    Raises:
        ConfigError: a variable directs jobs to another cluster.
        SlurmUnavailableError: Slurm does not answer.
    """
    _check_clusters()
    options = re.compile(r"SBATCH_(?!CPU_BIND|MEM_BIND)")  # Slurm sets these two in every job
    given = {name: at for name, at in sorted(os.environ.items()) if options.match(name)}
    keys: dict[str, Any] = {
        KEYS[name]: at for name, at in given.items() if name in KEYS and at.strip()
    }
    keys = {key: value for key, value in keys.items() if getattr(cluster, key) is None}
    notes, ignored = list[str](), list[str]()
    for name, value in given.items():
        if KEYS.get(name) in keys:
            notes.append(f"{name}={value} sets cluster.{KEYS[name]}")
        elif name in SUBMISSION_OPTIONS:
            notes.append(f"{name}={value} applies to all jobs; unset it if that is not wanted")
        else:
            ignored.append(f"{name}={value}")
    if ignored:
        notes.append(f"ignored {', '.join(ignored)}; set the cluster.* keys instead")
    return dataclasses.replace(cluster, **keys), notes


def _check_clusters() -> None:
    """Raise ``ConfigError`` if a variable names another cluster than this one."""
    for name in ("SBATCH_CLUSTERS", "SLURM_CLUSTERS"):
        if (value := os.environ.get(name)) and value != settings().get("ClusterName"):
            problem = f"{name} is {value}, but a launch submits to the cluster of this host"
            raise ConfigError(f"{problem}; unset it, and launch on a login node of {value}")
