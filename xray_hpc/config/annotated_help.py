"""Add the meaning of each key to Hydra's help, as a comment behind it."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from xray_hpc.config.key_reference import KeyDescription, describe_keys

KEYS = "Keys ("  # the heading of the configuration in conf/config.yaml's help template
COLUMN, WIDTH = 34, 110  # characters


@contextmanager
def annotated_help() -> Iterator[None]:
    """Print what Hydra prints, with a comment behind each key below ``KEYS``."""
    text = io.StringIO()
    try:
        with redirect_stdout(text):
            yield
    finally:  # Hydra exits after its help
        before, heading, keys = text.getvalue().rstrip("\n").partition(f"\n{KEYS}")
        if before:
            print(before + heading + "\n".join(_annotate(keys.split("\n"))))


def _annotate(lines: list[str]) -> Iterator[str]:
    described = {key.key: key for key in describe_keys()}
    path: list[str] = []
    for line in lines:
        found = re.match(r"( *)(\w+):( |$)", line)
        if found:
            path[len(found[1]) // 2 :] = [found[2]]
        key = described.get(".".join(path)) if found else None
        yield _with_comment(line, key) if key else line


def _with_comment(line: str, key: KeyDescription) -> str:
    """Return ``line`` with the first clause of the key's meaning, and the unit if it lacks that."""
    clause = re.split(r"[:;.](?: |$)", key.meaning.replace("``", ""))[0]
    unit = f" ({key.unit})" if key.unit and key.unit not in clause.lower() else ""
    start = f"{line.ljust(COLUMN)}  # "
    return (
        start + textwrap.shorten(clause, WIDTH - len(start) - len(unit), placeholder=" ...") + unit
    )
