"""``python -m xray_hpc.explain`` with a model that finds bright spots."""

from __future__ import annotations

import csv
import importlib.util
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.explanations.tiny_models import SIDE, spot_model, spotted
from xray_hpc import explain
from xray_hpc.command_line import run as run_command
from xray_hpc.errors import UserError
from xray_hpc.explanations.explanation_figure import GAP
from xray_hpc.models.model_card import ModelCard, add_card

Explain = Callable[..., int]
SQUARE = 224


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spots") / "model.keras"
    spot_model().save(path)
    classes = ("CLEAR", "SPOT")
    add_card(path, ModelCard("cnn-1a2b3c4d", "cnn", classes, 0.5, SIDE, 1.0, 1, None))
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an image with a spot at row 3, column 12, and a dark one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    Image.fromarray(spotted((3, 12))[0, ..., 0]).save(tmp_path / "images" / "spot.png")
    Image.fromarray(np.full((SIDE, SIDE), 20, np.uint8)).save(tmp_path / "images" / "dark.png")
    return tmp_path


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Explain:
    """Call ``main`` in this process and return its exit code."""

    def call(*words: str | Path, stdin: bytes = b"") -> int:
        monkeypatch.setattr(sys, "argv", ["explain", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return explain.main()

    return call


def rows(folder: str = "explanations") -> list[dict[str, str]]:
    with (Path(folder) / "explanations.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def brightest_change(picture: Path) -> tuple[int, int]:
    """Return where the heatmap is strongest, as row and column of the original image."""
    with Image.open(picture) as file:
        pixels = np.asarray(file.convert("RGB")).astype(int)
    change = np.abs(pixels[:, SQUARE + GAP :] - pixels[:, :SQUARE]).max(axis=2)
    row, column = np.unravel_index(change.argmax(), change.shape)
    return int(row) * SIDE // SQUARE, int(column) * SIDE // SQUARE


def test_explain_writes_a_table_and_a_picture_per_image(
    here: Path, model: Path, call: Explain, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(model, "images") == 0
    dark, spot = rows()
    columns = ["path", "score_CLEAR", "score_SPOT", "logit", "label", "explained", "image", "error"]
    assert list(spot) == columns
    assert (spot["label"], spot["explained"]) == ("SPOT", "SPOT")
    assert (dark["label"], dark["explained"]) == ("CLEAR", "CLEAR")
    assert [dark["image"], spot["image"]] == ["0001_dark.png", "0002_spot.png"]
    files = {path.name for path in Path("explanations").iterdir()}
    assert files == {"explanations.csv", "0001_dark.png", "0002_spot.png"}
    row, column = brightest_change(Path("explanations") / spot["image"])
    assert abs(row - 3) <= 1
    assert abs(column - 12) <= 1
    output = capsys.readouterr()
    assert "1 CLEAR, 1 SPOT" in output.out
    assert "explaining the predicted class" in output.err
    assert "nothing speaks for the explained class in 1 of the images" in output.err


def test_explain_takes_the_class_that_is_named(here: Path, model: Path, call: Explain) -> None:
    assert call(model, "images", "--class", "SPOT", "--output", "out") == 0
    assert [row["label"] for row in rows("out")] == ["CLEAR", "SPOT"]
    assert [row["explained"] for row in rows("out")] == ["SPOT", "SPOT"]


def test_unreadable_image_is_a_row_and_exit_code_1(
    here: Path, model: Path, call: Explain, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "images" / "bad.png").write_text("text")
    assert call(model, "images", "missing.png") == 1
    bad, dark, _, missing = rows()
    assert bad["error"].startswith("not JPEG")
    assert (bad["image"], bad["explained"]) == ("", "")
    assert dark["image"] == "0002_dark.png"
    assert missing["error"]
    assert "2 of 4 images could not be scored" in capsys.readouterr().err


def test_same_images_give_the_same_bytes(here: Path, model: Path, call: Explain) -> None:
    assert [call(model, "images", "-o", name) for name in ("one", "two")] == [0, 0]
    for path in Path("one").iterdir():
        assert path.read_bytes() == (Path("two") / path.name).read_bytes()


def test_explanations_are_replaced_only_with_overwrite(
    here: Path, model: Path, call: Explain
) -> None:
    assert call(model, "images/dark.png") == 0
    with pytest.raises(UserError, match=r"explanations\.csv exists; replace it with --overwrite"):
        call(model, "images")
    assert call(model, "images", "--overwrite") == 0
    assert len(rows()) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["images", "--class", "SPOTS"], "--class 'SPOTS' is unknown; did you mean 'SPOT'?"),
        (["images", "--background", "images"], "--background needs --method shap"),
        (["images", "--output", "images/dark.png"], "which exists and is not a folder"),
        (["images", "--output", "missing/folder"], "--output is missing/folder"),
        (["--output", "images", "."], "no images in ."),
    ],
)
def test_wrong_argument_is_one_line(
    here: Path, model: Path, call: Explain, words: list[str], message: str
) -> None:
    if words[-1] == ".":
        for path in (here / "images").iterdir():
            path.unlink()
    with pytest.raises(UserError) as error:
        call(model, *words)
    assert message in str(error.value)
    assert not Path("explanations").exists()


def test_shap_that_is_not_installed_is_one_line_with_exit_code_2(
    here: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    missing = {"shap": None}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: missing.get(name, name) and find(name)
    )
    monkeypatch.setattr(sys, "argv", ["explain", str(model), "images", "--method", "shap"])
    with pytest.raises(SystemExit) as end:
        run_command(explain.main)
    assert end.value.code == 2
    assert "--method shap needs shap: pip install" in capsys.readouterr().err


def test_shap_of_a_copied_model_needs_a_background(
    here: Path, model: Path, call: Explain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with pytest.raises(UserError, match="--background FOLDER"):
        call(model, "images", "--method", "shap")
