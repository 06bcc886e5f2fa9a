"""The worst misses of a run: which, in which order, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.explanations.tiny_models import spot_model, spotted
from tests.run_files import differing_files
from xray_hpc.data.dataset import Dataset
from xray_hpc.explanations.explanation_figure import GAP, SIDE, draw_explanation
from xray_hpc.explanations.worst_misses import MOST, find_worst_misses, write_worst_misses
from xray_hpc.metrics import class_logits
from xray_hpc.records.paths import RunPaths


def dataset(labels: Sequence[int], classes: Sequence[str]) -> Dataset:
    """Return images with a spot each; the first two are validation images, the others test."""
    return Dataset(
        images=spotted(*[(3 + i, 4) for i in range(len(labels))]),
        labels=np.array(labels, np.int64),
        files=[f"{i}.png" for i in range(len(labels))],
        patients=[f"p{i}" for i in range(len(labels))],
        classes=tuple(classes),
        splits={"validation": np.arange(2), "test": np.arange(2, len(labels))},
        fingerprint="",
        notes=[],
        skipped=[],
        contents="",
    )


def write(folder: Path, data: Dataset, logits: dict[str, np.ndarray], classes: int = 2) -> RunPaths:
    paths = RunPaths(folder)
    folder.mkdir()
    model = spot_model(classes=classes, output="sigmoid" if classes == 2 else "softmax")
    write_worst_misses(paths, "cnn", model, data, logits)
    return paths


TWO = dataset([0, 1, 0, 0, 1, 1], ["NORMAL", "PNEUMONIA"])
LOGITS = {
    "validation": class_logits(np.array([[-1.0], [2.0]])),
    "test": class_logits(np.array([[0.5], [3.0], [-1.0], [1.0]])),
}


def test_worst_is_the_most_confident_miss() -> None:
    labels, predicted = np.array([0, 1, 1, 0]), np.array([1, 1, 0, 1])
    logits = np.array([[-1.0, 1.0], [-9.0, 9.0], [3.0, -3.0], [-2.0, 2.0]])
    assert find_worst_misses(labels, predicted, logits).tolist() == [2, 3, 0]


def test_equal_misses_keep_their_order_and_the_number_is_limited() -> None:
    count = MOST + 3
    logits = np.tile([-1.0, 1.0], (count, 1))
    worst = find_worst_misses(np.zeros(count, np.int64), np.ones(count, np.int64), logits)
    assert worst.tolist() == list(range(MOST))


def test_table_has_a_row_and_a_picture_per_miss(tmp_path: Path) -> None:
    paths = write(tmp_path / "run", TWO, LOGITS)
    table = pd.read_csv(paths.worst_misses("cnn"))
    assert table.drop(columns="y_scores").values.tolist() == [
        ["test", 1, "3.png", "p3", 0, 1, 3.0, "figures/worst_misses/test_1.png"],
        ["test", 2, "4.png", "p4", 1, 0, -1.0, "figures/worst_misses/test_2.png"],
        ["test", 3, "2.png", "p2", 0, 1, 0.5, "figures/worst_misses/test_3.png"],
    ]
    columns = ["split", "rank", "file", "patient", "y_true", "predicted", "y_scores", "logit"]
    assert list(table) == [*columns, "image"]
    np.testing.assert_allclose(table["y_scores"], 1 / (1 + np.exp(-table["logit"])))
    pictures = sorted(paths.worst_miss_figures.iterdir())
    assert pictures == [paths.folder / name for name in sorted(table["image"])]
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.size == (2 * SIDE + GAP, SIDE)


def test_three_classes_have_a_score_and_a_logit_each(tmp_path: Path) -> None:
    data = dataset([0, 1, 2], ["A", "B", "C"])
    outputs = np.array([[5.0, 1, 2], [0, 1, 4], [1, 2, 0]])
    logits = {"validation": class_logits(outputs[:2]), "test": class_logits(outputs[2:])}
    paths = write(tmp_path / "run", data, logits, classes=3)
    table = pd.read_csv(paths.worst_misses("cnn"))
    names = [f"{kind}_{name}" for kind in ("y_scores", "logit") for name in "ABC"]
    assert list(table)[6:-1] == names
    assert table[["split", "y_true", "predicted"]].values.tolist() == [
        ["validation", 1, 2],
        ["test", 2, 1],
    ]
    np.testing.assert_allclose(table["logit_A"], [logits["validation"][1, 0], logits["test"][0, 0]])


def test_run_without_misses_has_an_empty_table(tmp_path: Path) -> None:
    data = dataset([0, 1, 0, 1], ["NORMAL", "PNEUMONIA"])
    right = class_logits(np.array([[-1.0], [1.0]]))
    paths = write(tmp_path / "run", data, {"validation": right, "test": right})
    assert pd.read_csv(paths.worst_misses("cnn")).empty
    assert not list(paths.worst_miss_figures.iterdir())


def test_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = (write(tmp_path / name, TWO, LOGITS) for name in ("one", "two"))
    assert not differing_files(one, two)


def test_heatmap_is_brightest_at_the_spot_of_a_false_positive(tmp_path: Path) -> None:
    paths = write(tmp_path / "run", TWO, LOGITS)  # test_1 has its spot at row 6, column 4
    picture = np.asarray(Image.open(paths.worst_miss_figures / "test_1.png").convert("RGB"))
    plain, marked = picture[:, :SIDE].astype(int), picture[:, SIDE + GAP :].astype(int)
    row, column = np.unravel_index(np.abs(marked - plain).max(axis=2).argmax(), (SIDE, SIDE))
    assert (row * 16 // SIDE, column * 16 // SIDE) in {(r, c) for r in (5, 6, 7) for c in (3, 4, 5)}


@pytest.mark.parametrize("channels", [1, 3])
def test_draw_explanation_takes_grey_and_rgb(channels: int) -> None:
    image = np.full((300, 300, channels), 90, np.uint8)
    picture = np.asarray(draw_explanation(image, np.zeros((300, 300)), 50).convert("RGB"))
    assert picture.shape == (50, 100 + GAP, 3)
    assert (picture[:, :50] == 90).all()
    assert (picture[:, 50 + GAP :] == 90).all()
