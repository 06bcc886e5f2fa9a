from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from xray_hpc.figure_files import escape_dollars, save_figure


def titled(title: str) -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.add_subplot().set_title(title)
    return figure


@pytest.mark.parametrize("grey", [False, True])
def test_save_figure_is_reproducible(tmp_path: Path, grey: bool) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        save_figure(titled("ROC"), file, dpi=80, grey=grey)
    assert files[0].read_bytes() == files[1].read_bytes()
    with Image.open(files[0]) as image:
        assert image.mode == ("L" if grey else "RGB")
        assert image.size == (240, 160)


def test_escape_dollars_and_missing_glyphs(tmp_path: Path) -> None:
    save_figure(titled(escape_dollars("$(x)^_$-模型")), tmp_path / "odd.png", dpi=80)


def test_save_figure_trims_empty_margins(tmp_path: Path) -> None:
    figure = Figure(figsize=(3, 2))
    figure.text(0.5, 0.5, "alone")
    save_figure(figure, tmp_path / "whole.png", dpi=80)
    save_figure(figure, tmp_path / "trimmed.png", dpi=80, trim=True)
    with Image.open(tmp_path / "whole.png") as whole, Image.open(tmp_path / "trimmed.png") as cut:
        assert cut.height < whole.height


def test_save_figure_failure_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ParseSyntaxException"):
        save_figure(titled(r"$\frac$"), tmp_path / "odd.png", dpi=80)
    assert list(tmp_path.iterdir()) == []
