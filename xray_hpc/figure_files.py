"""Atomic writing of figures as PNG files, and literal text in figures."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from xray_hpc.records.atomic_files import atomic_write


def escape_dollars(text: str) -> str:
    """Escape dollar signs, which matplotlib would otherwise parse as mathematics."""
    return text.replace("$", r"\$")


def save_figure(
    figure: Figure, path: Path, *, dpi: int, trim: bool = False, grey: bool = False
) -> None:
    """Write ``figure`` to ``path`` atomically; the same figure gives the same bytes.

    ``trim`` removes empty margins. ``grey`` halves the size of the file.
    """
    with atomic_write(path) as temporary, warnings.catch_warnings():
        # A class name may use a script that the font lacks; it is shown as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        if trim:
            figure.savefig(temporary, dpi=dpi, metadata={"Software": None}, bbox_inches="tight")
            return
        # Figure.savefig would draw the figure twice, once for its layout.
        canvas = FigureCanvasAgg(figure)
        figure.set_dpi(dpi)
        canvas.draw()  # type: ignore[no-untyped-call]
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba()))  # type: ignore[no-untyped-call]
        picture.convert("L" if grey else "RGB").save(temporary, dpi=(dpi, dpi), optimize=grey)
