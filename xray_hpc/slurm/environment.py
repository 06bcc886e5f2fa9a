"""The environment variables of Slurm's programs.

Slurm's programs read options, formats and filters from them, and ``sbatch`` prefers
``SBATCH_...`` to the options in a batch script. What a launch decides must not depend on them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

PREFIXES = (
    *("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SUBMITIT_"),
    *("SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_", "SCONTROL_"),
)
# The cluster, the user's token, and folders that a site's wrapper of a program may use.
KEPT = ("SLURM_CONF", "SLURM_JWT", "SLURM_HOME", "SLURM_ROOT")
# sbatch reads them for options that the launch itself does not set.
SUBMISSION_OPTIONS: Mapping[str, str] = {
    "SBATCH_ACCTG_FREQ": "acctg-freq",
    "SBATCH_DELAY_BOOT": "delay-boot",
    "SBATCH_EXCLUSIVE": "exclusive",
    "SBATCH_EXPORT": "export",
    "SBATCH_GET_USER_ENV": "get-user-env",
    "SBATCH_GRES_FLAGS": "gres-flags",
    "SBATCH_NETWORK": "network",
    "SBATCH_PROFILE": "profile",
    "SBATCH_RESERVATION": "reservation",
    "SBATCH_WCKEY": "wckey",
}


def query_environment() -> dict[str, str]:
    """Return the environment for a program whose output is parsed."""
    return _neutral_environment() | {"LC_ALL": "C"}


def submission_environment(script: str) -> dict[str, str]:
    """Return the environment for ``sbatch``, which jobs inherit.

    Without the variables of a surrounding job. Of ``SBATCH_...``, those in ``SUBMISSION_OPTIONS``
    are left whose option ``script``, the text of the batch script, does not set.
    """
    options = set(re.findall(r"^#SBATCH --([a-z-]+)", script, re.MULTILINE))
    left = {
        name: os.environ[name]
        for name, option in SUBMISSION_OPTIONS.items()
        if name in os.environ and option not in options
    }
    return _neutral_environment() | left


def _neutral_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or not name.startswith(PREFIXES)
    }
