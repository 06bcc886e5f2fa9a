"""Write the charts of the page as files: ``figures/*.pdf``, and some as PNG for ``report.md``."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from xray_hpc.errors import UserError
from xray_hpc.records.atomic_files import atomic_write, read_json, write_json
from xray_hpc.report.page.chart import Chart
from xray_hpc.report.page.vega_process import VegaError, VegaTask, run_vega
from xray_hpc.shared_folder import make_subfolder

INDEX = ".figures.json"
PNG_STEMS = ("roc_test", "ranking")  # report.md shows these
PNG_SCALE = 2.0


def write_figures(folder: Path, charts: Sequence[Chart]) -> dict[Path, Chart]:
    """Write each chart to ``folder`` as a vector PDF, some also as PNG; return them by file.

    Charts that did not change are not drawn again, and figures that no longer apply are removed.
    Equal charts give equal bytes.

    Raises:
        OSError: a file cannot be written.
    """
    make_subfolder(folder)
    files = {name: chart for chart in charts for name in _files(chart)}
    digests = {name: _digest(chart) for name, chart in files.items()}
    drawn = _drawn(folder)
    changed = [
        name for name in files if drawn.get(name) != [digests[name], _file_digest(folder / name)]
    ]
    try:
        _write(folder, {name: files[name] for name in changed})
    except VegaError as error:
        print(f"warning: the report has no new figures: {error}", file=sys.stderr)
        files = {name: chart for name, chart in files.items() if name not in changed}
    _remove_others(folder, files)
    index = {name: [digests[name], _file_digest(folder / name)] for name in files}
    if index != drawn:
        write_json(folder / INDEX, index)
    return {folder / name: chart for name, chart in files.items()}


def _files(chart: Chart) -> list[str]:
    shown = chart.name.startswith(PNG_STEMS)
    return [f"{chart.name}.pdf", *([f"{chart.name}.png"] if shown else [])]


def _write(folder: Path, charts: Mapping[str, Chart]) -> None:
    if not charts:
        return
    tasks = [
        VegaTask("pdf" if name.endswith(".pdf") else "png", dict(chart.spec), PNG_SCALE)
        for name, chart in charts.items()
    ]
    for name, task, content in zip(charts, tasks, run_vega(tasks), strict=True):
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(sorted_resources(content) if task.kind == "pdf" else content)


def sorted_resources(pdf: bytes) -> bytes:
    """Return the PDF with the names of fonts and the like in order, which vl-convert shuffles.

    The order means nothing (ISO 32000-1, 7.3.7), and no byte moves to another object.
    """

    def ordered(lines: re.Match[bytes]) -> bytes:
        return b"".join(sorted(lines[0].splitlines(keepends=True)))

    return re.sub(rb"(?:^ +/\w+ \d+ 0 R\n){2,}", ordered, pdf, flags=re.MULTILINE)


def _digest(chart: Chart) -> str:
    """Return a digest that is equal for charts that look the same."""
    text = json.dumps([chart.spec, version("vl-convert-python"), PNG_SCALE])
    return hashlib.sha256(text.encode()).hexdigest()


def _file_digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _drawn(folder: Path) -> Mapping[str, object]:
    """Return the digests of the charts that the files were drawn from, and of the files."""
    try:
        return read_json(folder / INDEX)
    except (OSError, UserError):
        return {}


def _remove_others(folder: Path, names: Iterable[str]) -> None:
    """Remove figures of an earlier report that this one lacks."""
    kept = set(names)
    for path in folder.iterdir():
        if path.suffix in (".pdf", ".png") and path.name not in kept and path.is_file():
            path.unlink()
