"""Preprocessing inside models, also of saved models without this package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import layers

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.build_model import build_model
from xray_hpc.models.preprocessing import preprocess, scale

Pixels = npt.NDArray[np.uint8]

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)


def scaled(pixels: Pixels, scaling: str) -> npt.NDArray[np.float32]:
    inputs = layers.Input(pixels.shape[1:])
    return np.asarray(keras.Model(inputs, scale(inputs, scaling))(pixels))


def preprocessed(config: ModelConfig, pixels: Pixels) -> npt.NDArray[np.float32]:
    """Return the input of the backbone of ``config`` for raw ``pixels``."""
    inputs = layers.Input(pixels.shape[1:])
    return np.asarray(keras.Model(inputs, preprocess(config, inputs, config.backbone))(pixels))


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet121"])
def test_preprocess_equals_that_of_keras_applications(name: str) -> None:
    module = {
        "mobilenet_v2": keras.applications.mobilenet_v2,
        "densenet121": keras.applications.densenet,
    }
    expected = module[name].preprocess_input(PIXELS.astype(np.float32))
    found = preprocessed(ModelConfig("tl", name, "none", preprocessing="backbone"), PIXELS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet121", None])
def test_preprocess_can_scale_to_unit_range_for_every_backbone(name: str | None) -> None:
    found = preprocessed(ModelConfig("any", name, preprocessing="unit"), PIXELS)
    np.testing.assert_allclose(found, PIXELS / 255, atol=1e-6)


def test_preprocess_repeats_grey_images_for_an_rgb_backbone() -> None:
    config = ModelConfig("tl", "mobilenet_v2", "none", preprocessing="unit")
    grey = preprocessed(config, PIXELS[..., :1])
    np.testing.assert_allclose(grey, np.repeat(PIXELS[..., :1], 3, axis=-1) / 255, atol=1e-6)


def test_preprocess_averages_rgb_images_for_a_grey_backbone() -> None:
    config = ModelConfig("tl", "demo", "none", preprocessing="unit")
    expected = PIXELS.mean(axis=-1, keepdims=True) / 255
    np.testing.assert_allclose(preprocessed(config, PIXELS), expected, atol=1e-5)


@given(arrays(np.uint8, st.tuples(st.just(2), st.just(3), st.just(3), st.sampled_from([1, 3]))))
def test_midrange_scales_each_image_by_its_own_range(pixels: Pixels) -> None:
    """``mid = (max + min) / 2; image / mid - 1``; a black image becomes -1."""
    found = scaled(pixels, "midrange")
    for image, raw in zip(found, pixels.astype(np.float64), strict=True):
        middle = (raw.max() + raw.min()) / 2
        expected = raw / middle - 1 if middle else np.full_like(raw, -1)
        np.testing.assert_allclose(image, expected, atol=1e-6)
        assert image.min() >= -1
        assert image.max() <= 1


@pytest.fixture
def half_precision() -> Iterator[None]:
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("scaling", ["tf", "torch", "unit", "midrange"])
@pytest.mark.usefixtures("half_precision")
def test_scale_computes_in_float32_under_mixed_precision(scaling: str) -> None:
    found = scaled(PIXELS, scaling)
    keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(found, scaled(PIXELS, scaling))
    assert found.dtype == np.float32


LOADER = """
import sys
sys.modules["xray_hpc"] = None  # cannot be imported
import keras, numpy as np
folder = sys.argv[1]
images = np.load(f"{folder}/images.npy")
for name in sys.argv[2:]:
    model = keras.saving.load_model(f"{folder}/{name}.keras", safe_mode=True)
    np.save(f"{folder}/{name}.npy", model(images))
"""


def test_saved_model_works_where_this_package_is_not_installed(
    tmp_path: Path,
) -> None:
    images = PIXELS.copy()
    images[0] = 0
    np.save(tmp_path / "images.npy", images)
    inputs = layers.Input(images.shape[1:])
    models = {
        "lung": build_model(ModelConfig("lung", preprocessing="midrange"), images.shape[1:], 2)
    }
    for name, backbone in (("tf", "demo"), ("torch", "densenet121")):
        models[name] = keras.Model(
            inputs, preprocess(ModelConfig("tl", preprocessing="backbone"), inputs, backbone)
        )
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    command = [sys.executable, "-c", LOADER, str(tmp_path), *models]
    subprocess.run(command, check=True, timeout=300)
    for name, model in models.items():
        expected = np.asarray(model(images))
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, atol=1e-6)
