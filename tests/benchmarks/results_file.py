"""Update RESULTS.md, which has the last measured tables of each topic."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from xray_hpc.records.atomic_files import write_text

FILE = Path(__file__).parent / "RESULTS.md"


def save(topics: Iterable[str], name: str, text: str) -> None:
    """Replace the section of the topic ``name`` in the file."""
    write_text(FILE, with_topic(FILE.read_text(), topics, name, text))


def with_topic(results: str, topics: Iterable[str], name: str, text: str) -> str:
    """Return ``results`` with the section of a topic replaced or inserted in order.

    Each section starts with a comment ``<!-- TOPIC -->``.
    """
    head, *found = re.split(r"^<!-- (\w+) -->\n", results, flags=re.MULTILINE)
    known = dict(zip(found[::2], found[1::2], strict=True)) | {name: text}
    blocks = (f"<!-- {topic} -->\n\n{known[topic].strip()}\n" for topic in topics if topic in known)
    return "\n".join([head.rstrip("\n") + "\n", *blocks])
