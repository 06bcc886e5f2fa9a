"""What models and backbones there are, and what each needs: known without TensorFlow.

A launch checks a configuration against these tables on the login node; the networks themselves
are in the sibling modules and are imported only where they are built.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from xray_hpc.config import ModelConfig, RunConfig
from xray_hpc.errors import UserError, one_of


@dataclass(frozen=True)
class Backbone:
    """A network without its top, pretrained or not.

    ``layers`` is ``len(keras_model.layers)``, its input layer counted; ``minimum`` the smallest
    side of an image in pixels. ``scaling`` is what its weights were trained on: ``tf`` is
    [-1, 1], ``torch`` is ImageNet's mean and standard deviation a channel. ``file`` and ``md5``
    name the published weights (``md5`` is ``None`` where Keras publishes none).
    """

    layers: int
    scaling: Literal["tf", "torch"]
    weights: Literal["imagenet", "demo"] = "imagenet"
    file: str = ""
    md5: str | None = None
    minimum: int = 32
    channels: int = 3


HDF5 = b"\x89HDF\r\n\x1a\n"  # how a file of weights begins

_KERNELS = "weights_tf_dim_ordering_tf_kernels"

BACKBONES = {
    "demo": Backbone(layers=25, scaling="tf", weights="demo", channels=1),
    "densenet121": Backbone(
        layers=427,
        scaling="torch",
        file=f"densenet121_{_KERNELS}_notop.h5",
        md5="30ee3e1110167f948a6b9946edeeb738",
    ),
    "densenet169": Backbone(
        layers=595,
        scaling="torch",
        file=f"densenet169_{_KERNELS}_notop.h5",
        md5="b8c4d4c20dd625c148057b9ff1c1176b",
    ),
    "densenet201": Backbone(
        layers=707,
        scaling="torch",
        file=f"densenet201_{_KERNELS}_notop.h5",
        md5="c13680b51ded0fb44dff2d8f86ac8bb1",
    ),
    "mobilenet_v2": Backbone(
        layers=154, scaling="tf", file=f"mobilenet_v2_{_KERNELS}_1.0_224_no_top.h5"
    ),
    "resnet50v2": Backbone(
        layers=190,
        scaling="tf",
        file=f"resnet50v2_{_KERNELS}_notop.h5",
        md5="fac2f116257151a9d068a22e544a4917",
    ),
    "resnet101v2": Backbone(
        layers=377,
        scaling="tf",
        file=f"resnet101v2_{_KERNELS}_notop.h5",
        md5="c0ed64b8031c3730f411d2eb4eea35b5",
    ),
    "resnet152v2": Backbone(
        layers=564,
        scaling="tf",
        file=f"resnet152v2_{_KERNELS}_notop.h5",
        md5="ed17cf2e0169df9d443503ef94b23b33",
    ),
}


@dataclass(frozen=True)
class Model:
    """A kind of model: what it is called in a figure, and which keys of its config it uses.

    ``module`` holds ``build(config, input_shape, weights, dropout)``. ``minimum`` is the smallest
    side of an image in pixels, where no backbone decides it.
    """

    title: str
    module: str
    uses: frozenset[str]
    minimum: int = 32


_TRANSFER = frozenset({"backbone", "weights", "preprocessing", "head_units", "head_dropout"})

MODELS = {
    "cnn": Model("CNN", "xray_hpc.models.cnn", frozenset(), minimum=30),
    "tl": Model("Transfer learning", "xray_hpc.models.transfer", _TRANSFER),
    "ft": Model("Fine-tuning", "xray_hpc.models.transfer", _TRANSFER | {"unfreeze"}),
}


def settle(config: ModelConfig) -> tuple[ModelConfig, tuple[str, ...]]:
    """Put the keys that the model does not use back to their defaults, and name those that moved.

    Two configurations that differ only in such keys describe the same run.

    Raises:
        UserError: the model is unknown.
    """
    if config.name not in MODELS:
        raise UserError(one_of("model", config.name, MODELS))
    uses = MODELS[config.name].uses | {"name"}
    fields = dataclasses.fields(ModelConfig)
    idle: dict[str, Any] = {item.name: item.default for item in fields if item.name not in uses}
    moved = tuple(key for key, value in idle.items() if getattr(config, key) != value)
    return dataclasses.replace(config, **idle), moved


def check(config: RunConfig) -> None:
    """Check a settled model against its backbone and the images.

    Raises:
        UserError: an unknown backbone or weights, a depth beyond the backbone, images too small.
    """
    model, size = config.model, config.data.image_size
    entry = MODELS[model.name]
    if "backbone" not in entry.uses:
        _check_size(size, entry.minimum, model.name)
        return
    missing = [key for key in sorted(entry.uses) if getattr(model, key) is None]
    if missing:
        raise UserError(f"model.{missing[0]} is not set; model {model.name} needs it")
    name = str(model.backbone)
    if name not in BACKBONES:
        raise UserError(one_of("model.backbone", name, BACKBONES))
    backbone = BACKBONES[name]
    _check_size(size, backbone.minimum, name)
    if model.unfreeze is not None and model.unfreeze > backbone.layers:
        raise UserError(
            f"model.unfreeze is {model.unfreeze}, but {name} has {backbone.layers} layers; "
            f"use 1 to {backbone.layers}"
        )
    weights_file(model)


def _check_size(size: int, minimum: int, name: str) -> None:
    if size < minimum:
        raise UserError(
            f"data.image_size is {size}, too small for {name}; use {minimum} or more pixels"
        )


def weights_file(model: ModelConfig) -> Path | None:
    """Where the backbone's weights are, or ``None`` where it starts from random ones.

    Published ImageNet weights are looked for where Keras keeps them,
    ``$KERAS_HOME/models/`` (``~/.keras/models/``).

    Raises:
        UserError: there is no such file, or the name stands for no weights of this backbone.
    """
    if model.backbone is None or model.weights is None or model.weights == "none":
        return None
    backbone = BACKBONES[model.backbone]
    if model.weights == "demo" and backbone.weights == "demo":
        return Path(__file__).parent / "weights" / "demo.weights.h5"
    if model.weights == "imagenet" and backbone.weights == "imagenet":
        path = imagenet_folder() / backbone.file
        if not path.is_file():
            raise UserError(
                f"ImageNet weights of {model.backbone} are not at {path}; fetch them where there "
                "is internet (xray_hpc.stage with the same model does), or give model.weights a "
                "file or 'none'"
            )
        return path
    path = Path(model.weights).expanduser()
    if path.is_file():
        with path.open("rb") as handle:
            if handle.read(len(HDF5)) != HDF5:
                raise UserError(f"model.weights is {path}, which is no HDF5 file (.h5)")
        return path.resolve()
    if path.name == model.weights and not path.suffix:
        choices = [backbone.weights, "none"]
        raise UserError(one_of(f"model.weights of {model.backbone}", model.weights, choices))
    raise UserError(f"model.weights is {model.weights}, but there is no such file")


def imagenet_folder() -> Path:
    """Where Keras keeps the weights that it downloads."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def weights_digest(model: ModelConfig) -> str | None:
    """Name the starting weights by their content: SHA-256 of the file, ``None`` if random."""
    path = weights_file(model)
    if path is None:
        return None
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
