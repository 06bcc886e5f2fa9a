"""A flow diagram of the images of a data set, as STARD and CLAIM ask for."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd

from xray_hpc.count_text import format_count
from xray_hpc.printable import printable

BOX, LINE, PAD, GAP = 230, 20, 12, 30  # pixels
LETTERS = 28  # of a line in a box
STYLE = 'font-family="sans-serif" font-size="13" fill="#111"'
ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
    'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>'
)


def flow_diagram(flow: pd.DataFrame) -> str:
    """Return an SVG image: images found, left out, and in each split by class.

    Equal tables give equal bytes.

    Args:
        flow: the table of :func:`~xray_hpc.data.data_facts.flow_table`.
    """
    used = flow[flow["stage"] == "used"]
    splits = list(dict.fromkeys(used["split"]))
    boxes = [_lines(split.capitalize(), used[used["split"] == split]) for split in splits]
    found = _lines("Images found", flow[flow["stage"] == "found"])
    left_out = [
        line
        for stage in ("unreadable", "not drawn")
        for line in _lines(stage.capitalize(), flow[flow["stage"] == stage])[:2]
    ]
    width = len(boxes) * (BOX + GAP) + GAP
    middle = width / 2
    top = PAD + _height(found)
    side = top + GAP / 2
    bar = side + _height(left_out) + GAP / 2
    row = bar + GAP
    total = row + max(map(_height, boxes)) + PAD
    parts = [_box(middle - BOX / 2, PAD, found), _line(middle, top, middle, bar)]
    across = side + _height(left_out) / 2
    parts += [_line(middle, across, middle + GAP, across, arrow=True)]
    parts += [_box(middle + GAP, side, left_out)]
    centres = [GAP + i * (BOX + GAP) + BOX / 2 for i in range(len(boxes))]
    parts += [_line(min(*centres, middle), bar, max(*centres, middle), bar)]
    for centre, lines in zip(centres, boxes, strict=True):
        parts += [_line(centre, bar, centre, row, arrow=True), _box(centre - BOX / 2, row, lines)]
    size = f'viewBox="0 0 {width:g} {total:g}" width="{width:g}" height="{total:g}"'
    title = "<title>Flow of the images</title>"
    body = "\n".join(parts)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {STYLE}>'
    return f"{head}\n{title}{ARROW}\n{body}\n</svg>\n"


def _lines(title: str, rows: pd.DataFrame) -> list[str]:
    """Return the title, the total, and a line for each class."""
    counts = [
        (str(row["class"]), int(row["images"]), int(row["patients"]))
        for row in rows.to_dict("records")
    ]
    _, images, patients = counts[0]
    total = f"{format_count(images, 'image')}, {format_count(patients, 'patient')}"
    return [title, total, *(f"{_short(name)}: {number:,}" for name, number, _ in counts[1:])]


def _short(name: str) -> str:
    text = printable(name)
    return text if len(text) <= LETTERS - 8 else text[: LETTERS - 9] + "…"


def _height(lines: Sequence[str]) -> float:
    return len(lines) * LINE + 2 * PAD


def _box(x: float, y: float, lines: Sequence[str]) -> str:
    shape = (
        f'<rect x="{x:g}" y="{y:g}" width="{BOX}" height="{_height(lines):g}" fill="#fff" '
        'stroke="#555"/>'
    )
    texts = [
        f'<text x="{x + PAD:g}" y="{y + PAD + 15 + i * LINE:g}">{escape(text)}</text>'
        for i, text in enumerate(lines)
    ]
    return "\n".join([shape, *texts])


def _line(x1: float, y1: float, x2: float, y2: float, *, arrow: bool = False) -> str:
    end = ' marker-end="url(#arrow)"' if arrow else ""
    return f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="#555" fill="none"{end}/>'
