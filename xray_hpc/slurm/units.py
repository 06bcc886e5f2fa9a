"""Parse and format times and sizes in Slurm's notation."""

from __future__ import annotations

import math
import re

_UNITS = "KMGT"


def parse_seconds(text: str) -> int | None:
    """Return ``1-02:03:04``, ``02:03:04`` or ``03:04`` in seconds; ``None`` for other texts."""
    found = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", text)
    if found is None:
        return None
    days, hours, minutes, rest = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def parse_mebibytes(text: str) -> int | None:
    """Return ``300M``, ``1.50G``, ``16GB`` or ``500`` in MiB, rounded up; ``None`` for others."""
    found = re.fullmatch(rf"(\d+(?:\.\d+)?)([{_UNITS}]?)B?", text.upper())
    if found is None:
        return None
    return math.ceil(float(found[1]) * 1024.0 ** (_UNITS.index(found[2] or "M") - 1))


def format_memory(mebibytes: int) -> str:
    """Format MiB for the command line and ``sbatch``: ``4G``, ``1536M``."""
    return f"{mebibytes}M" if mebibytes % 1024 else f"{mebibytes // 1024}G"
