from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure
from PIL import Image

from xray_hpc.figure_files import escape_dollars, save_figure, write_figure
from xray_hpc.package_folders import resource

DRAW_AS_A_COMMAND = """
import sys
from pathlib import Path
from xray_hpc import command_line

def main():
    from matplotlib.figure import Figure
    from xray_hpc.figure_files import write_figure
    def draw():
        figure = Figure(figsize=(3, 2))
        figure.add_subplot().set_title("ROC")
        return figure

    write_figure(Path(sys.argv[1]), draw, dpi=80)

command_line.run(main)
"""


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


def test_escape_dollars_shows_control_characters_and_keeps_line_breaks() -> None:
    assert escape_dollars("a\x1b[1m\n\u202e$") == "a\\x1b[1m\n\\u202e\\$"


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


def test_figure_that_cannot_be_drawn_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "roc.png"
    assert write_figure(path, lambda: titled(r"$\frac$"), dpi=80) is None
    assert write_figure(path, lambda: Figure(figsize=(-1, 1)), dpi=80) is None
    assert [line.startswith("Cannot draw roc.png, ") for line in caplog.messages] == [True, True]
    assert list(tmp_path.iterdir()) == []


def test_figure_on_a_full_disk_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_figure(tmp_path / "roc.png", lambda: titled("ROC"), dpi=80)
    assert caplog.messages == []
    assert list(tmp_path.iterdir()) == []


def test_write_figure_ignores_the_settings_in_effect(tmp_path: Path) -> None:
    write_figure(tmp_path / "default.png", lambda: titled("ROC"), dpi=80)
    with matplotlib.rc_context({"text.usetex": True, "font.size": 40, "axes.grid": True}):
        write_figure(tmp_path / "user.png", lambda: titled("ROC"), dpi=80)
    assert (tmp_path / "user.png").read_bytes() == (tmp_path / "default.png").read_bytes()


@pytest.mark.parametrize("given", [True, False])
def test_settings_and_styles_that_are_not_utf_8_are_ignored(tmp_path: Path, given: bool) -> None:
    home = tmp_path / "matplotlib"
    (home / "stylelib").mkdir(parents=True)
    text = "no.such.key: 1\nfont.family: N\xf6n\xe9\n".encode("latin-1")
    (home / "matplotlibrc").write_bytes(text)
    (home / "stylelib" / "own.mplstyle").write_bytes(text)
    settings = {"XDG_CONFIG_HOME": str(tmp_path)}
    settings |= {"MATPLOTLIBRC": str(home / "matplotlibrc")} if given else {}
    done = subprocess.run(
        [sys.executable, "-c", DRAW_AS_A_COMMAND, str(tmp_path / "roc.png")],
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    write_figure(tmp_path / "default.png", lambda: titled("ROC"), dpi=80)
    assert (tmp_path / "roc.png").read_bytes() == (tmp_path / "default.png").read_bytes()


def test_stage_draws_the_same_figures_whatever_the_users_settings(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 40\n")
    settings = {"MPLBACKEND": "module://missing_notebook.backend_inline"}
    settings["MPLCONFIGDIR"] = "/dev/null/none"

    def python(*command: str, **environment: str) -> None:
        run = [sys.executable, *command]
        subprocess.run(run, check=True, cwd=tmp_path, env=os.environ | environment)

    data = "data.demo_images=60", "data.image_size=32"
    python("-m", "xray_hpc.launch", *data, "cluster=none", "name=job", **settings)
    (run,) = map(str, (tmp_path / "results" / "job" / "runs").iterdir())
    python(str(resource("jobs") / "stage.py"), run, **settings)
    python("-m", "xray_hpc.stage", *data, "name=verb", **settings)
    (tmp_path / "matplotlibrc").unlink()
    python("-m", "xray_hpc.stage", *data, "name=default")

    def figures(sweep: str) -> dict[str, bytes]:
        files = (tmp_path / "results" / sweep / "data").glob("*/*.png")
        return {path.name: path.read_bytes() for path in files}

    assert len(figures("default")) == 7
    assert figures("verb") == figures("default")
    assert figures("job").items() <= figures("default").items()
