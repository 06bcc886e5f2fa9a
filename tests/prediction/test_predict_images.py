"""Prediction in batches: order, labels, and memory."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import special

from xray_hpc.config.run_config import GreyRange
from xray_hpc.data import decode
from xray_hpc.data.named_images import ImageFile
from xray_hpc.models.model_card import ModelCard
from xray_hpc.prediction import predict_images as module
from xray_hpc.prediction.predict_images import batch_size, predict_images, read_image

CARD = ModelCard("cnn-1a2b3c4d", "cnn", ("NORMAL", "PNEUMONIA"), 0.5, 8, 1.0, 1, None)
CARD_OF_THREE = ModelCard("lung-1a2b3c4d", "lung", ("A", "B", "C"), None, 8, 1.0, 1, None)


def first_pixel(batch: np.ndarray) -> np.ndarray:
    """Return the logits of two classes; that of the second is the first pixel - 128."""
    x = batch[:, 0, 0, 0] - 128.0
    return np.stack([-x, x], axis=1)


@contextmanager
def images_from_file_names() -> Iterator[None]:
    """Read no files: each image has the grey level that is its file name."""

    def read(path: str, card: ModelCard) -> np.ndarray:
        return np.full(card.input_shape, int(path), np.uint8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "read_image", read)
        patch.setattr(module, "MAX_BATCH", 16)
        yield


@given(
    greys=st.lists(st.one_of(st.none(), st.integers(0, 255)), max_size=100),
    threshold=st.floats(0, 1),
    workers=st.integers(1, 4),
)
def test_predict_images_preserves_the_order_of_files(
    greys: list[int | None], threshold: float, workers: int
) -> None:
    files = [ImageFile(str(grey), "broken" if grey is None else None) for grey in greys]
    with images_from_file_names():
        results = list(predict_images(files, CARD, first_pixel, threshold, workers))
    assert [result.path for result in results] == [file.path for file in files]
    for grey, result in zip(greys, results, strict=True):
        if grey is None:
            assert (result.scores, result.label, result.error) == (None, None, "broken")
        else:
            positive = special.expit(grey - 128) > threshold
            assert result.scores == (special.expit(128 - grey), special.expit(grey - 128))
            assert result.logits == (128 - grey, grey - 128)
            assert result.label == ("PNEUMONIA" if positive else "NORMAL")
            assert result.error is None


@given(st.lists(st.tuples(*[st.integers(-9, 9)] * 3), min_size=1, max_size=40))
def test_predict_images_takes_the_first_of_the_highest_scores(
    logits: list[tuple[int, int, int]],
) -> None:
    def score(batch: np.ndarray) -> np.ndarray:
        return np.array([logits[i] for i in batch[:, 0, 0, 0]])

    with images_from_file_names():
        files = [ImageFile(str(i)) for i in range(len(logits))]
        results = list(predict_images(files, CARD_OF_THREE, score, None, workers=1))
    for row, result in zip(logits, results, strict=True):
        assert result.logits == row
        assert result.label == "ABC"[row.index(max(row))]


@given(st.integers(1, 100))
def test_predict_images_scores_batches_of_equal_size(number: int) -> None:
    shapes = set()

    def score(batch: np.ndarray) -> np.ndarray:
        shapes.add(batch.shape)
        return first_pixel(batch)

    with images_from_file_names():
        list(predict_images([ImageFile("7")] * number, CARD, score, 0.5, workers=2))
    assert shapes == {(min(number, 16), 8, 8, 1)}


def test_batch_size_decreases_for_large_images() -> None:
    def card(size: int) -> ModelCard:
        return ModelCard("x", "x", ("A", "B"), 0.5, size, 1.0, 3, None)

    sizes = [batch_size(card(size), 1000) for size in (96, 224, 512, 4096)]
    assert sizes == [64, 41, 8, 1]
    assert batch_size(card(224), 1) == 1


def test_predict_images_holds_only_a_few_batches_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (16, 16), 128).save(tmp_path / "0.png")
    for i in range(1, 500):
        (tmp_path / f"{i}.png").hardlink_to(tmp_path / "0.png")
    files = [ImageFile(str(tmp_path / f"{i}.png")) for i in range(500)]
    decoded: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    def decode_and_count(*arguments: object) -> np.ndarray:
        pixels = decode.decode(*arguments).copy()
        decoded.append(weakref.ref(pixels))
        alive.append(sum(image() is not None for image in list(decoded)))
        return pixels

    monkeypatch.setattr(module, "decode", decode_and_count)
    monkeypatch.setattr(module, "MAX_BATCH", 16)
    results = list(predict_images(files, CARD, first_pixel, 0.4, workers=3))
    assert [result.label for result in results] == ["PNEUMONIA"] * 500
    assert len(alive) == 500
    assert 16 <= max(alive) <= 4 * 16


def test_predict_images_stops_reading_when_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def decode(path: Path, *_: object) -> np.ndarray:
        read.append(str(path))
        return np.zeros((8, 8, 1), np.uint8)

    monkeypatch.setattr(module, "decode", decode)
    results = predict_images([ImageFile("x")] * 1000, CARD, first_pixel, 0.5, workers=2)
    next(results)
    results.close()
    assert len(read) <= 3 * 64


def test_read_image_crops_the_center(tmp_path: Path) -> None:
    pixels = np.arange(100, dtype=np.uint8).reshape(10, 10)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    card = ModelCard("x", "x", ("A", "B"), 0.5, 10, 0.7, 1, None)
    pixels_read = read_image(str(tmp_path / "x.png"), card)
    np.testing.assert_array_equal(pixels_read, pixels[1:8, 1:8, None])


@pytest.mark.parametrize(("grey_range", "grey"), [(12, 64), (None, 255), ((0.0, 2046.0), 128)])
def test_read_image_scales_from_the_range_of_the_training_images(
    tmp_path: Path, grey_range: GreyRange | None, grey: int
) -> None:
    Image.fromarray(np.full((8, 8), 1023, np.uint16)).save(tmp_path / "x.png")
    card = replace(CARD, range=grey_range)
    pixels = read_image(str(tmp_path / "x.png"), card)
    np.testing.assert_array_equal(pixels, grey)


def test_read_image_rejects_more_bits_than_the_training_images_have(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 60_000, np.uint16)).save(tmp_path / "x.png")
    reason = read_image(str(tmp_path / "x.png"), replace(CARD, range=12))
    assert reason == "pixels up to 60000, beyond the 12-bit range (data.range)"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(5, "Input/output error"), "input/output error"),
        (FileNotFoundError(2, "No such file or directory"), "no such file or directory"),
        (decode.UnreadableImageError(Path("x"), "two\nlines"), "two lines"),
    ],
)
def test_read_image_returns_the_reason_for_an_unreadable_file(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def decode(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, "decode", decode)
    assert read_image("x", CARD) == reason


def test_read_image_returns_a_lack_of_memory_as_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    monkeypatch.setattr(decode, "_square", fail)
    reason = decode.OutOfMemoryError(tmp_path / "x.png").reason
    assert read_image(str(tmp_path / "x.png"), CARD) == reason


def test_read_image_returns_why_a_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "sparse.png").touch()
    os.truncate(tmp_path / "sparse.png", 2**40)
    reasons = {path.stem: read_image(str(path), CARD) for path in tmp_path.iterdir()}
    assert reasons == {
        "fifo": "a FIFO, not a regular file",
        "device": "a device, not a regular file",
        "sparse": "larger than 256 MiB",
    }
