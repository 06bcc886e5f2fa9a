from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.run_config import GreyRange
from xray_hpc.errors import DataError, UserError
from xray_hpc.models.model_card import ModelCard, add_card, read_card

CARD = ModelCard(
    run="cnn-1a2b3c4d",
    model="cnn",
    classes=("NORMAL", "PNEUMONIA"),
    threshold=0.5,
    image_size=10,
    crop=0.8,
    channels=1,
    clahe=None,
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved Keras model without a card."""
    path = tmp_path_factory.mktemp("plain") / "model.keras"
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1)]
    keras.Sequential(layers).save(path)
    return path


@pytest.fixture
def saved(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(plain, tmp_path))


def test_read_card_returns_the_added_card(saved: Path) -> None:
    add_card(saved, CARD)
    assert read_card(saved) == CARD
    assert CARD.input_shape == (8, 8, 1)


def test_card_is_a_json_file_in_the_archive(saved: Path) -> None:
    add_card(saved, CARD)
    with zipfile.ZipFile(saved) as archive:
        assert json.loads(archive.read("xray_hpc.json")) == {
            "run": "cnn-1a2b3c4d",
            "model": "cnn",
            "classes": ["NORMAL", "PNEUMONIA"],
            "threshold": 0.5,
            "image_size": 10,
            "crop": 0.8,
            "channels": 1,
            "clahe": None,
            "range": None,
        }


def test_keras_ignores_the_card(saved: Path) -> None:
    images = np.arange(128, dtype=np.float32).reshape(2, 8, 8, 1)
    before = keras.saving.load_model(saved).predict(images, verbose=0)
    add_card(saved, CARD)
    after = keras.saving.load_model(saved).predict(images, verbose=0)
    np.testing.assert_array_equal(before, after)


def test_add_card_is_deterministic(plain: Path, tmp_path: Path) -> None:
    copies = [Path(shutil.copy(plain, tmp_path / f"{n}.keras")) for n in "ab"]
    for copy in copies:
        add_card(copy, CARD)
    assert copies[0].read_bytes() == copies[1].read_bytes()


@given(
    classes=st.lists(st.text(min_size=1), min_size=3, max_size=5, unique=True),
    clahe=st.floats(0.1, 40),
    crop=st.floats(0.1, 1),
)
def test_read_card_returns_any_added_card(
    tmp_path_factory: pytest.TempPathFactory, classes: list[str], clahe: float, crop: float
) -> None:
    path = tmp_path_factory.mktemp("card") / "model.keras"
    card = dataclasses.replace(
        CARD, classes=tuple(classes), threshold=None, clahe=clahe, crop=crop, channels=3
    )
    add_card(path, card)
    assert read_card(path) == card


@pytest.mark.parametrize("grey_range", [12, (0.0, 4000.0)])
def test_read_card_returns_the_range(saved: Path, grey_range: GreyRange) -> None:
    card = dataclasses.replace(CARD, range=grey_range)
    add_card(saved, card)
    assert read_card(saved) == card


def test_read_card_names_a_model_without_a_card(saved: Path) -> None:
    with pytest.raises(UserError, match=r"model\.keras has no model card"):
        read_card(saved)


def test_read_card_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.keras: No such file"):
        read_card(tmp_path / "none.keras")


TEXT = json.dumps(dataclasses.asdict(CARD))
HUGE = "1" + 400 * "0"


def changed(key: str, value: str) -> str:
    """Return the card's JSON with ``value``, a JSON text, under ``key``."""
    values = json.loads(TEXT) | {key: "PLACE"}
    return json.dumps(values).replace('"PLACE"', value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[1]", "null", "{}", "\xff", 100_000 * "[", 100_000 * '{"run":', f"[{10 * HUGE}1]"),
        *(changed("run", value) for value in ("3", "null", f'"{201 * "x"}"')),
        *(
            changed("classes", value)
            for value in ("[]", '["A"]', '["A", "A"]', '["", "A"]', '"AB"', "null")
        ),
        *(changed("classes", value) for value in ('["A", 1]', '["A", null]', '["A", ["B"]]')),
        *(changed("threshold", value) for value in ("NaN", "-0.1", "1.1", "true", HUGE)),
        *(changed("image_size", value) for value in ("0", "-8", "8.0", "true", "5000", HUGE)),
        *(changed("crop", value) for value in ("NaN", "Infinity", "0", "-1", "1.01", "null", HUGE)),
        *(changed("channels", value) for value in ("2", "true", "1.0")),
        *(changed("clahe", value) for value in ("0", "-2", "NaN", "Infinity", '"2"')),
        *(changed("range", value) for value in ("7", "33", "[1]", "[2, 1]", "[0, NaN]", '"auto"')),
        changed("unknown", "1"),
        changed("classes", '["A", "B", "C"]'),  # with a threshold
    ],
)
def test_read_card_rejects_an_invalid_card(saved: Path, text: str) -> None:
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("xray_hpc.json", text)
    with pytest.raises(DataError, match=rf"^xray_hpc\.json in {saved} ") as error:
        read_card(saved)
    assert len(str(error.value)) < 400
