"""Check the sbatch options of ``cluster.extra``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xray_hpc.config.dataclass_conversion import check
from xray_hpc.errors import ConfigError

_ONE_TASK = "a job is one task on one node; use cluster.gpus and cluster.cpus"
_LOGS = "the logs of a job belong to its sweep; read them with python -m xray_hpc.logs"
_REQUEUE = "a run that is cut off is requeued; use cluster.on_failure to change that"
_ENVIRONMENT = "jobs inherit your environment; use cluster.setup to set variables"
_CLUSTER = "jobs run on the cluster of this host; launch on a login node of the other one"
_COMMAND = "it changes the sbatch command, not the job; leave it out"
_USER = "jobs run as the user who launches; launch as the other user"
_GPUS = "use cluster.gpus, or gpus-per-node with a type: {gpus-per-node: a100:2}"

# Options on which the launch or its workers depend or that a key sets; what to do instead.
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("nodes", "ntasks", "ntasks-per-core", "ntasks-per-gpu"), _ONE_TASK),
    **dict.fromkeys(("ntasks-per-node", "ntasks-per-socket", "nodefile"), _ONE_TASK),
    **dict.fromkeys(("cpus-per-task", "cpus-per-gpu", "overcommit"), _ONE_TASK),
    **{key: f"use cluster.{key}" for key in ("account", "constraint", "mem", "partition", "qos")},
    **dict.fromkeys(("mem-per-cpu", "mem-per-gpu"), "use cluster.mem"),
    **dict.fromkeys(("gpus", "gpus-per-socket", "gpus-per-task"), _GPUS),
    **dict.fromkeys(("output", "error", "input", "open-mode"), _LOGS),
    **dict.fromkeys(("requeue", "no-requeue", "no-kill"), _REQUEUE),
    **dict.fromkeys(("export", "export-file"), _ENVIRONMENT),
    **dict.fromkeys(("clusters", "cluster-constraint"), _CLUSTER),
    **dict.fromkeys(("parsable", "quiet", "verbose", "help", "usage", "version"), _COMMAND),
    **dict.fromkeys(("uid", "gid"), _USER),
    "array": "the launch makes the array; use cluster.parallel and cluster.runs_per_job",
    "container": "use cluster.container",
    "dependency": "the launch orders its jobs; launch when the other job has ended",
    "job-name": "jobs have the name of the sweep; use name",
    "signal": "use cluster.signal_time",
    "time": "use cluster.time",
    "test-only": "use dry_run=true",
    "wait": "use wait=true",
    "wrap": "use cluster.setup for shell lines before a run",
}

TYPED_GPUS = r"[A-Za-z_][\w.-]*:[1-9]\d*"
NO_GPUS = r"(?!(.*,)?\s*(gres[:/])?gpu\b).*"  # for all jobs, the number of GPUs is cluster.gpus


def normalize_options(options: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return sbatch options by their long names, such as ``mem-per-cpu``.

    Raises:
        ConfigError: an option is refused or not a long name, or its value is not one line.
    """
    for name, value in options.items():
        check_line(value, f"{key}.{name}")
    named = {_name(name, key): value for name, value in options.items()}
    for name, pattern in (("gpus-per-node", TYPED_GPUS), ("gres", NO_GPUS)):
        if name in named and not re.fullmatch(pattern, str(named[name])):
            raise ConfigError(f"{key}.{name} is {named[name]}; {_GPUS}")
    return named


def _name(given: str, key: str) -> str:
    name = str(given).strip().lstrip("-").replace("_", "-")
    if not re.fullmatch(r"[a-z][a-z0-9-]+", name):
        problem = f"{key} has {given!r}, which is not the long name of an sbatch option"
        raise ConfigError(f"{problem}; give it as in {key}={{exclude: node7}}")
    # sbatch accepts unambiguous beginnings of its options.
    if refused := next((option for option in REFUSED if option.startswith(name)), None):
        raise ConfigError(f"{key}.{given} is not accepted: {REFUSED[refused]}")
    return name


def check_line(value: Any, key: str) -> None:
    """Raise ``ConfigError`` for an empty text or one with a line break.

    A line break would end the option's line in the batch script.
    """
    fits = not isinstance(value, str) or (value.isprintable() and value.strip())
    check(bool(fits), key, repr(value), "be one line of text, or null")
