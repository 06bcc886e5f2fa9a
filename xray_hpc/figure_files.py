"""Figures as PNG files that appear whole, and names in them as they are."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from xray_hpc.records.atomic_files import atomic_write


def escape_dollars(text: str) -> str:
    """``text`` with dollar signs shown as they are, not read as mathematics."""
    return text.replace("$", r"\$")


def save_figure(
    figure: Figure, path: Path, *, dpi: int, trim: bool = False, grey: bool = False
) -> None:
    """Write ``figure`` to ``path`` in one step; the same figure gives the same bytes.

    ``trim`` takes off empty margins. ``grey`` halves the file of a figure without colours.
    """
    with atomic_write(path) as temporary, warnings.catch_warnings():
        # A name may be in a script that the font lacks: boxes are shown for it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        if trim:
            figure.savefig(temporary, dpi=dpi, metadata={"Software": None}, bbox_inches="tight")
            return
        # Figure.savefig lays a figure out and draws it, to lay it out, before it draws it.
        canvas = FigureCanvasAgg(figure)
        figure.set_dpi(dpi)
        canvas.draw()  # type: ignore[no-untyped-call]
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba()))  # type: ignore[no-untyped-call]
        picture.convert("L" if grey else "RGB").save(temporary, dpi=(dpi, dpi), optimize=grey)
