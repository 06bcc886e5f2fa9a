"""Describe the machine without identifying it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "pillow", "h5py", "hydra-core", "submitit")


def describe(folder: Path) -> list[tuple[str, str]]:
    """Return pairs of name and value; ``folder`` is where the benchmark writes its files."""
    return [
        ("date", f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"),
        ("processor", f"{_processor()}, {len(os.sched_getaffinity(0))} cores usable"),
        ("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"),
        ("file system", _file_system(folder)),
        ("system", f"{_distribution()}, {platform.system()} {platform.release().split('-')[0]}"),
        ("Python", platform.python_version()),
        *((name, _version(name)) for name in PACKAGES),
        ("Slurm", _slurm()),
    ]


def load() -> str:
    """Return the load average of the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _file_system(folder: Path) -> str:
    """Return the type of the file system of ``folder``."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    parents = {str(path) for path in (folder.resolve(), *folder.resolve().parents)}
    return max((len(where), kind) for where, kind in mounts if where in parents)[1]


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return sys.platform


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _slurm() -> str:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    # Of Slurm's programs only the daemons print their version without a cluster.
    program = shutil.which("slurmctld", path=path)
    if program is None:
        return "not installed"
    return subprocess.run([program, "-V"], capture_output=True, text=True).stdout.split()[-1]
