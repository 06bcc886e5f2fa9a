"""Weights files that do not hold the weights of their backbone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from xray_hpc.errors import DataError
from xray_hpc.models.build_backbone import build_backbone

SHAPE = (32, 32, 1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, keras.Model]:
    """Weights of the demo backbone, and the backbone."""
    backbone = build_backbone("demo", SHAPE, None)
    path = tmp_path_factory.mktemp("weights") / "own.weights.h5"
    backbone.save_weights(path)
    return path, backbone


def first_array(weights: h5py.File) -> str:
    """Return the name of the first array that has values."""
    found: list[str] = []

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.size:
            found.append(name)

    weights.visititems(collect)
    return found[0]


def external_link(weights: h5py.File) -> None:
    name = first_array(weights)
    path = Path(weights.filename).with_name("other.h5")
    with h5py.File(path, "w") as other:
        other["values"] = weights[name][()]
    del weights[name]
    weights[name] = h5py.ExternalLink(path, "/values")


def soft_link(weights: h5py.File) -> None:
    name = first_array(weights)
    weights["values"] = weights[name][()]
    del weights[name]
    weights[name] = h5py.SoftLink("/values")


def other_shape(weights: h5py.File) -> None:
    name = first_array(weights)
    values = weights[name][()]
    del weights[name]
    weights[name] = np.zeros((*values.shape, 2), np.float32)


def shape_of_nothing(weights: h5py.File) -> None:
    name = first_array(weights)
    del weights[name]
    weights.create_dataset(name, (2**40,), "f4")


def text(weights: h5py.File) -> None:
    name = first_array(weights)
    shape = weights[name].shape
    del weights[name]
    weights[name] = np.full(shape, b"x")


def no_array(weights: h5py.File) -> None:
    del weights[first_array(weights)]


def empty(weights: h5py.File) -> None:
    for name in list(weights):
        del weights[name]


def test_build_backbone_reads_its_own_weights(saved: tuple[Path, keras.Model]) -> None:
    path, backbone = saved
    loaded = build_backbone("demo", SHAPE, path)
    for one, other in zip(loaded.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
@pytest.mark.parametrize(
    "change",
    [external_link, soft_link, other_shape, shape_of_nothing, text, no_array, empty],
)
def test_build_backbone_rejects_other_weights(
    saved: tuple[Path, keras.Model],
    tmp_path: Path,
    change: Callable[[h5py.File], None],
    suffix: str,
) -> None:
    path = tmp_path / f"own{suffix}"
    path.write_bytes(saved[0].read_bytes())
    with h5py.File(path, "a") as weights:
        change(weights)
    with pytest.raises(DataError, match=rf"^{path} .* demo ") as error:
        build_backbone("demo", SHAPE, path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("layers", [3, [], ["a"], ["a", 1]], ids=repr)
def test_build_backbone_rejects_invalid_layer_names(tmp_path: Path, layers: object) -> None:
    path = tmp_path / "own.h5"  # the format of Keras 2
    with h5py.File(path, "w") as weights:
        weights.attrs["layer_names"] = np.array(layers, dtype="S4") if layers else layers
    with pytest.raises(DataError, match=rf"^{path} .* demo "):
        build_backbone("demo", SHAPE, path)


@pytest.mark.parametrize("length", [0, 8, 100, 5000, -1])
def test_build_backbone_rejects_a_truncated_file(
    saved: tuple[Path, keras.Model], tmp_path: Path, length: int
) -> None:
    path = tmp_path / "own.weights.h5"
    path.write_bytes(saved[0].read_bytes()[:length])
    with pytest.raises(DataError, match=rf"^{path} .* demo "):
        build_backbone("demo", SHAPE, path)
