"""Build Markdown: escaped text, links, images and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from xray_hpc.printable import printable


def escape(text: str) -> str:
    """Escape ``text`` so that Markdown shows it unchanged, also in a table cell.

    Addresses do not become links, and characters that are not printable are shown as in a terminal.
    """
    text = printable(" ".join(text.split()))
    text = re.sub(r"([\\`*\[\]<>|#~&$]|:(?=//)|(?i:(?<=www))\.)", r"\\\1", text)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\_", text)


def link(text: str, path: str) -> str:
    """Return a link to a relative path, which may contain any character."""
    return f"[{escape(text)}]({quote(path, errors='surrogateescape')})"


def image(text: str, path: str) -> str:
    """Return an image at a relative path with an alternative text."""
    return f"!{link(text, path)}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a table of cells that are Markdown already.

    The first ``left`` columns are left-aligned, the others right-aligned.
    """
    lines = [[escape(head) for head in heads]]
    lines += [["---"] * left + ["--:"] * (len(heads) - left)]
    lines += [list(row) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
