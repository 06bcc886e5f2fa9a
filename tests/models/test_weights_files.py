from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.errors import ConfigError
from xray_hpc.models.weights_files import (
    HDF5_SIGNATURE,
    imagenet_file,
    weights_digests,
    weights_files,
)


def test_weights_files_looks_for_imagenet_weights_in_keras_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    model = ModelConfig("tl", "resnet152v2", "imagenet", preprocessing="backbone")
    with pytest.raises(ConfigError, match=str(tmp_path)):
        weights_files(model)
    file = imagenet_file("resnet152v2")
    file.parent.mkdir()
    file.write_bytes(b"")
    with pytest.raises(ConfigError, match=str(file)):
        weights_files(model)
    file.write_bytes(HDF5_SIGNATURE)
    assert weights_files(model) == {"resnet152v2": file}


def test_weights_files_rejects_weights_of_another_backbone() -> None:
    with pytest.raises(ConfigError, match=r"weights of mobilenet_v2 'demo' is unknown"):
        weights_files(ModelConfig("tl", "mobilenet_v2", "demo", preprocessing="backbone"))


def test_weights_files_rejects_a_file_that_is_not_hdf5() -> None:
    with pytest.raises(ConfigError, match=r"model\.weights is .*\.py"):
        weights_files(ModelConfig("tl", "mobilenet_v2", __file__, preprocessing="backbone"))


def test_weights_digests_hashes_files_and_omits_random_weights(tmp_path: Path) -> None:
    file = tmp_path / "own.h5"
    file.write_bytes(HDF5_SIGNATURE)
    model = ModelConfig(
        "stacked", backbones={"demo": str(file), "mobilenet_v2": "none"}, preprocessing="backbone"
    )
    assert weights_files(model) == {"demo": file}
    assert weights_digests(model) == {"demo": hashlib.sha256(HDF5_SIGNATURE).hexdigest()}


@pytest.mark.parametrize(
    "replace",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: os.symlink(path, path),
        lambda path: os.symlink("/dev/zero", path),
        lambda path: path.write_bytes(b""),
    ],
    ids=["FIFO", "folder", "link to itself", "device", "empty"],
)
def test_weights_files_rejects_anything_but_a_file_of_weights(
    tmp_path: Path, replace: Callable[[Path], None]
) -> None:
    path = tmp_path / "own.h5"
    replace(path)
    with pytest.raises(ConfigError, match=str(path)):
        weights_files(ModelConfig("tl", "demo", str(path), preprocessing="backbone"))


def test_weights_files_does_not_read_a_sparse_file(tmp_path: Path) -> None:
    path = tmp_path / "own.h5"
    path.write_bytes(HDF5_SIGNATURE)
    os.truncate(path, 40 * 2**30)
    with pytest.raises(ConfigError, match=f"{path}, .* 2,048 MiB"):
        weights_files(ModelConfig("tl", "demo", str(path), preprocessing="backbone"))
