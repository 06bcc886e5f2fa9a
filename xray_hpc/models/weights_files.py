"""Where the pretrained weights of backbones are, and digests of them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

from xray_hpc.absolute_path import absolute_path
from xray_hpc.config.run_config import ModelConfig
from xray_hpc.count_text import format_bytes
from xray_hpc.errors import ConfigError, one_of
from xray_hpc.models.registry import BACKBONES
from xray_hpc.regular_file import open_regular

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""The first bytes of every HDF5 file."""
MAX_WEIGHTS = 2**31
"""The largest file of weights in bytes; those of all backbones together have 0.7 GB."""


def weights_files(config: ModelConfig) -> dict[str, Path]:
    """Return the weights file of each backbone that does not start from random weights.

    ImageNet weights are read from Keras's own folder, ``$KERAS_HOME/models/``
    (``~/.keras/models/``).

    Raises:
        ConfigError: a file does not exist, or the backbone has no weights of that name.
    """
    key = "model.backbones.{}" if config.backbones else "model.weights"
    return {
        name: _weights_file(name, weights, key.format(name))
        for name, weights in config.backbone_weights.items()
        if weights != "none"
    }


def with_absolute_weights(config: ModelConfig) -> ModelConfig:
    """Return the configuration with absolute paths of the weights files that it names."""
    files = {
        name: str(path)
        for name, path in weights_files(config).items()
        if config.backbone_weights[name] != BACKBONES[name].weights
    }
    if config.backbones is not None:
        return dataclasses.replace(config, backbones={**config.backbones, **files})
    return dataclasses.replace(config, weights=files.get(config.backbone or "", config.weights))


def _weights_file(name: str, weights: str, key: str) -> Path:
    published = BACKBONES[name].weights
    if weights == published == "demo":
        return Path(__file__).parents[1] / "synthetic" / "weights" / "demo.weights.h5"
    if weights == published == "imagenet":
        path = imagenet_file(name)
        if not path.is_file():
            raise ConfigError(
                f"ImageNet weights of {name} are not at {path}; download them on a host with "
                "internet access (xray_hpc.stage with the same model does), or set "
                f"{key} to a file or to 'none'"
            )
        return _checked(path, key)
    path = absolute_path(weights)
    if path.is_file():
        return _checked(path, key)
    if path.name == weights and not path.suffix:
        raise ConfigError(one_of(f"{key} of {name}", weights, [published, "none"]))
    raise ConfigError(f"{key} of {name} is {weights}, which does not exist")


def _checked(path: Path, key: str) -> Path:
    try:
        with open_regular(path) as file:
            signature, size = file.read(len(HDF5_SIGNATURE)), file.seek(0, os.SEEK_END)
    except OSError as error:
        raise ConfigError(f"{key} is {path}, which cannot be read: {error.strerror}") from error
    if signature != HDF5_SIGNATURE:
        raise ConfigError(f"{key} is {path}, which is not an HDF5 file (.h5)")
    if size > MAX_WEIGHTS:
        raise ConfigError(f"{key} is {path}, which is larger than {format_bytes(MAX_WEIGHTS)}")
    return path


def imagenet_file(backbone: str) -> Path:
    """Return the path where Keras stores the ImageNet weights, without classification layers."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    suffix = BACKBONES[backbone].file_suffix
    return Path(home, "models", f"{backbone}_weights_tf_dim_ordering_tf_kernels_{suffix}.h5")


def weights_digests(config: ModelConfig) -> dict[str, str]:
    """Return the SHA-256 of each weights file, by backbone."""
    return {name: file_digest(path, "sha256") for name, path in weights_files(config).items()}


def file_digest(path: Path, algorithm: str) -> str:
    """Return the digest of a file in hexadecimal digits."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
