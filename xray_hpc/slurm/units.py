"""Parse and format times, sizes and job ids in Slurm's notation."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

_UNITS = "KMGT"
_DIGITS = "[0-9]{1,18}"  # int() refuses numbers of thousands of digits


def parse_seconds(text: str) -> int | None:
    """Return ``1-02:03:04``, ``02:03:04`` or ``03:04`` in seconds; ``None`` for other texts."""
    found = re.fullmatch(rf"(?:(?:({_DIGITS})-)?({_DIGITS}):)?({_DIGITS}):({_DIGITS})", text)
    if found is None:
        return None
    days, hours, minutes, rest = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def parse_minutes(text: str) -> int | None:
    """Return a time limit as :func:`parse_seconds`, in whole minutes, rounded up."""
    seconds = parse_seconds(text)
    return None if seconds is None else -(-seconds // 60)


def parse_mebibytes(text: str) -> int | None:
    """Return ``300M``, ``1.50G``, ``16GB`` or ``500`` in MiB, rounded up; ``None`` for others."""
    found = re.fullmatch(rf"({_DIGITS}(?:\.{_DIGITS})?)([{_UNITS}]?)B?", text.upper())
    if found is None:
        return None
    return math.ceil(float(found[1]) * 1024.0 ** (_UNITS.index(found[2] or "M") - 1))


def parse_number(text: str | None) -> int | None:
    """Return a whole number; ``None`` for ``UNLIMITED``, an empty text and others."""
    return int(text) if text is not None and re.fullmatch(_DIGITS, text) else None


def format_memory(mebibytes: int) -> str:
    """Format MiB for the command line and ``sbatch``: ``4G``, ``1536M``."""
    return f"{mebibytes}M" if mebibytes % 1024 else f"{mebibytes // 1024}G"


def compact_job_ids(jobs: Iterable[str]) -> list[str]:
    """Join the tasks of arrays as ``scancel`` accepts them: ``17_[0-5,7]``."""
    tasks: dict[str, list[int]] = defaultdict(list)
    single = []
    for job in sorted(set(jobs), key=job_number):
        array, _, task = job.partition("_")
        if task:
            tasks[array].append(int(task))
        else:
            single.append(job)
    ranges = {array: ",".join(_ranges(numbers)) for array, numbers in tasks.items()}
    return [f"{array}_{r if r.isdigit() else f'[{r}]'}" for array, r in ranges.items()] + single


def _ranges(numbers: list[int]) -> Iterator[str]:
    """Yield the ranges of sorted numbers: ``0-5``, ``7``."""
    start = 0
    for end, number in enumerate(numbers):
        if end + 1 == len(numbers) or numbers[end + 1] != number + 1:
            first = numbers[start]
            yield str(first) if first == number else f"{first}-{number}"
            start = end + 1


def job_number(job: str) -> tuple[int, int]:
    """Return the numbers of a job and of its array task, to sort by."""
    array, _, task = job.partition("_")
    return int(array), int(task or 0)
