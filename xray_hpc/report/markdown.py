"""Markdown: text shown unchanged, links and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote


def escape(text: str) -> str:
    """``text`` as Markdown shows it unchanged, in a table cell too."""
    text = re.sub(r"([\\`*\[\]<>|#~&])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\_", text)


def link(text: str, path: str) -> str:
    """A link to a relative path, whatever characters it has."""
    return f"[{escape(text)}]({quote(path)})"


def picture(text: str, path: str) -> str:
    """A picture at a relative path; ``text`` stands for it where it cannot be shown."""
    return f"!{link(text, path)}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table of cells that are Markdown already.

    The first ``left`` columns are aligned left, the others right.
    """
    lines = [[escape(head) for head in heads]]
    lines += [["---"] * left + ["--:"] * (len(heads) - left)]
    lines += [list(row) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
