"""Draw figures with Matplotlib's own settings, and write them atomically as PNG files."""

from __future__ import annotations

import logging
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from xray_hpc.errors import LeaseLostError
from xray_hpc.printable import printable_lines
from xray_hpc.records.atomic_files import atomic_write, is_storage_failure

logger = logging.getLogger(__name__)


def default_style(changes: Mapping[str, Any] | None = None) -> AbstractContextManager[None]:
    """Return a context in which Matplotlib's default style applies, with ``changes``.

    ``matplotlib.style`` would read the user's style files, and fail if one is not UTF-8.
    """
    settings: dict[Any, Any] = {**matplotlib.rcParamsDefault, **(changes or {})}
    del settings["backend"]
    return matplotlib.rc_context(settings)


def escape_dollars(text: str) -> str:
    """Escape dollar signs, which matplotlib would otherwise parse as mathematics.

    Control characters become visible, line breaks are kept.
    """
    return printable_lines(text).replace("$", r"\$")


def write_figure(
    path: Path,
    draw: Callable[[], Figure | None],
    *,
    style: AbstractContextManager[None] | None = None,
    **options: Any,
) -> bool | None:
    """Draw a figure and write it with :func:`save_figure`, whatever the user's ``matplotlibrc``.

    ``style`` replaces Matplotlib's default style.

    Returns:
        Whether there was anything to draw. ``None`` if it failed, which is only a warning: a
        figure can be drawn again, its run may have taken days.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        with style or default_style():
            figure = draw()
            if figure is not None:
                save_figure(figure, path, **options)
    except Exception as error:
        storage = isinstance(error, OSError) and is_storage_failure(path.parent, error)
        if storage or isinstance(error, MemoryError | LeaseLostError):
            raise
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
        name = re.sub(r"^\.[0-9a-f]{16}\.", "", path.name)  # the report's are temporary
        logger.warning("Cannot draw %s, continuing without it (%s)", name, reason)
        return None
    return figure is not None


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
