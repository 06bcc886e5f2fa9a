"""The JavaScript libraries that the page contains: Vega for charts, DataTables for tables."""

from __future__ import annotations

import functools
import os
import re
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from xray_hpc.records.atomic_files import write_text
from xray_hpc.regular_file import read_regular
from xray_hpc.report.page.vega_process import VegaTask, run_vega

MOST_BYTES = 1 << 23  # of a bundle, which has 0.9 MB


@functools.cache
def vega_script() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script that sets ``window.vegaEmbed``.

    vl-convert has them in its wheel. Bundling takes two seconds, so the user's cache keeps it.

    Raises:
        VegaError: the script is not cached, and vl-convert cannot run here.
    """
    path = _cache_folder() / f"vega-{version('vl-convert-python')}.js"
    with suppress(OSError, UnicodeError):
        return read_regular(path, MOST_BYTES).decode()
    (bundle,) = run_vega([VegaTask("bundle", "window.vegaEmbed = vegaEmbed;")])
    script = _as_inline(bundle.decode())
    with suppress(OSError):  # such as a home without space, or one that is read-only
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, script)
    return script


def _cache_folder() -> Path:
    """Return the folder of this package in the user's cache (XDG Base Directory)."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "xray_hpc"


@functools.cache
def datatables_script() -> str:
    """Return DataTables as a script that sets ``window.DataTable``.

    itables has it in its wheel as a module, which a page without a server cannot import.
    """
    text = _itables_file("dt_bundle.js")
    inline, found = re.subn(
        r"export\s*\{[^{}]*?([\w$]+) as default[^{}]*\};?", r"window.DataTable = \1;", text
    )
    if found != 1:
        raise RuntimeError("dt_bundle.js of itables has no default export")
    return _as_inline(inline)


@functools.cache
def datatables_style() -> str:
    """Return the style sheet of DataTables."""
    text = _itables_file("dt_bundle.css")
    if "</" in text:
        raise RuntimeError("dt_bundle.css of itables is not a style sheet")
    return text


def _itables_file(name: str) -> str:
    import itables

    return (Path(itables.__file__).parent / "html" / name).read_text(encoding="utf-8")


def _as_inline(script: str) -> str:
    """Return a script that does not end the element it is in."""
    return re.sub(r"<(?=/script|!--|script)", r"\\x3c", script, flags=re.IGNORECASE)
