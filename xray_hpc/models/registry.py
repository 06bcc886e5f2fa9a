"""What models and backbones there are, and what each needs: known without TensorFlow.

A launch checks a configuration against these tables on the login node; the networks themselves
are in the sibling modules and are imported only where they are built.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from xray_hpc.config.run_config import ModelConfig, RunConfig
from xray_hpc.errors import ConfigError, one_of


@dataclass(frozen=True)
class Backbone:
    """A network without its top, pretrained or not.

    ``layers`` is ``len(keras_model.layers)``, its input layer counted; ``parameters`` is how many
    numbers its weights are; ``minimum`` the smallest side of an image in pixels. ``scaling`` is
    what its weights were trained on: ``tf`` is [-1, 1], ``torch`` is ImageNet's mean and standard
    deviation a channel. ``file`` and ``md5`` name the published weights (``md5`` is ``None`` where
    Keras publishes none).
    """

    layers: int
    parameters: int
    scaling: Literal["tf", "torch"]
    weights: Literal["imagenet", "demo"] = "imagenet"
    file: str = ""
    md5: str | None = None
    minimum: int = 32
    channels: int = 3


HDF5 = b"\x89HDF\r\n\x1a\n"  # how a file of weights begins

_KERNELS = "weights_tf_dim_ordering_tf_kernels"

BACKBONES = {
    "demo": Backbone(layers=25, parameters=292_304, scaling="tf", weights="demo", channels=1),
    "densenet121": Backbone(
        layers=427,
        parameters=7_037_504,
        scaling="torch",
        file=f"densenet121_{_KERNELS}_notop.h5",
        md5="30ee3e1110167f948a6b9946edeeb738",
    ),
    "densenet169": Backbone(
        layers=595,
        parameters=12_642_880,
        scaling="torch",
        file=f"densenet169_{_KERNELS}_notop.h5",
        md5="b8c4d4c20dd625c148057b9ff1c1176b",
    ),
    "densenet201": Backbone(
        layers=707,
        parameters=18_321_984,
        scaling="torch",
        file=f"densenet201_{_KERNELS}_notop.h5",
        md5="c13680b51ded0fb44dff2d8f86ac8bb1",
    ),
    "mobilenet_v2": Backbone(
        layers=154,
        parameters=2_257_984,
        scaling="tf",
        file=f"mobilenet_v2_{_KERNELS}_1.0_224_no_top.h5",
    ),
    "resnet50v2": Backbone(
        layers=190,
        parameters=23_564_800,
        scaling="tf",
        file=f"resnet50v2_{_KERNELS}_notop.h5",
        md5="fac2f116257151a9d068a22e544a4917",
    ),
    "resnet101v2": Backbone(
        layers=377,
        parameters=42_626_560,
        scaling="tf",
        file=f"resnet101v2_{_KERNELS}_notop.h5",
        md5="c0ed64b8031c3730f411d2eb4eea35b5",
    ),
    "resnet152v2": Backbone(
        layers=564,
        parameters=58_331_648,
        scaling="tf",
        file=f"resnet152v2_{_KERNELS}_notop.h5",
        md5="ed17cf2e0169df9d443503ef94b23b33",
    ),
}


@dataclass(frozen=True)
class Model:
    """A kind of model: what it is called in a figure, and which keys of its config it uses.

    ``module`` holds ``features(config, x, weights, dropout)``. ``minimum`` is the smallest side of
    an image in pixels, where no backbone decides it. Every model uses ``preprocessing`` and
    ``output``.
    """

    title: str
    module: str
    uses: frozenset[str] = frozenset()
    minimum: int = 1


_TRANSFER = frozenset({"backbone", "weights", "head_units", "head_dropout"})
_EVERY = frozenset({"name", "preprocessing", "output"})

MODELS = {
    "cnn": Model("CNN", "xray_hpc.models.cnn", minimum=30),
    "tl": Model("Transfer learning", "xray_hpc.models.transfer", _TRANSFER),
    "ft": Model("Fine-tuning", "xray_hpc.models.transfer", _TRANSFER | {"unfreeze"}),
    "stacked": Model("Stacked backbones", "xray_hpc.models.stacked", frozenset({"backbones"})),
    "conv": Model("Four-block CNN", "xray_hpc.models.conv", minimum=46),
    "lung": Model("Two-convolution CNN", "xray_hpc.models.lung", minimum=16),
    "vgg": Model("VGG-like CNN", "xray_hpc.models.vgg", minimum=32),
}


def resolve(config: ModelConfig) -> tuple[ModelConfig, tuple[str, ...]]:
    """Put the keys that the model does not use back to their defaults, and name those that moved.

    Of a stacked model's backbones those without weights are left out and the others sorted by
    name; ``auto`` preprocessing without a backbone is ``unit``. Two configurations that resolve to
    the same one describe the same run.

    Raises:
        UserError: the model is unknown.
    """
    if config.name not in MODELS:
        raise ConfigError(one_of("model", config.name, MODELS))
    uses = MODELS[config.name].uses | _EVERY
    fields = dataclasses.fields(ModelConfig)
    idle: dict[str, Any] = {item.name: item.default for item in fields if item.name not in uses}
    moved = tuple(key for key, value in idle.items() if getattr(config, key) != value)
    config = dataclasses.replace(config, **idle)
    if config.backbones is not None:
        config = dataclasses.replace(config, backbones=backbones(config))
    if config.preprocessing == "auto" and not uses & {"backbone", "backbones"}:
        config = dataclasses.replace(config, preprocessing="unit")
    return config, moved


def backbones(config: ModelConfig) -> dict[str, str]:
    """The weights that each backbone of the model starts from, as its configuration says it."""
    if config.backbones is not None:
        given = config.backbones
    else:
        given = {} if config.backbone is None else {config.backbone: config.weights}
    return {name: weights for name, weights in sorted(given.items()) if weights is not None}


def output(config: ModelConfig, classes: int) -> Literal["sigmoid", "softmax"]:
    """How the model says its scores: one sigmoid, or softmax over the classes.

    Raises:
        UserError: a sigmoid is asked for, but there are more than two classes.
    """
    if config.output == "sigmoid" and classes > 2:
        raise ConfigError(
            f"model.output is sigmoid, which tells two classes apart, but there are {classes}; "
            "use softmax or auto"
        )
    if config.output == "auto":
        return "sigmoid" if classes == 2 else "softmax"
    return config.output


def check(config: RunConfig, classes: int) -> None:
    """Check a settled model against its backbones, the images and the number of classes.

    Raises:
        UserError: an unknown backbone or weights, a depth beyond the backbone, too few backbones,
            images too small, an output that does not fit the classes.
    """
    model = config.model
    entry = MODELS[model.name]
    output(model, classes)
    missing = [key for key in sorted(entry.uses) if getattr(model, key) is None]
    if missing:
        raise ConfigError(f"model.{missing[0]} is not set; model {model.name} needs it")
    check_backbones(model)
    _check_size(config, entry.minimum, model.name)
    for name in backbones(model):
        _check_size(config, BACKBONES[name].minimum, name)
    if model.unfreeze is not None:
        _check_depth(str(model.backbone), model.unfreeze)
    weights_files(model)


def check_backbones(config: ModelConfig) -> None:
    """Check that the model's backbones exist, and that a stacked model has two or more.

    Raises:
        UserError: they do not, or it has not.
    """
    names = list(backbones(config))
    for name in names:
        if name not in BACKBONES:
            key = "model.backbone" if config.backbones is None else "model.backbones"
            raise ConfigError(one_of(key, name, BACKBONES))
    if "backbones" in MODELS[config.name].uses and len(names) < 2:
        raise ConfigError(
            f"model.backbones names only {''.join(names) or 'nothing'}, but model {config.name} "
            "needs two or more; add one as ++model.backbones.NAME=WEIGHTS"
        )


def _check_size(config: RunConfig, minimum: int, name: str) -> None:
    size, crop = config.data.input_size, config.data.crop
    if size < minimum:
        cut = "" if crop == 1 else f" cut to {size} by data.crop={crop:g}"
        raise ConfigError(
            f"data.image_size is {config.data.image_size}{cut}, too small for {name}; "
            f"use {math.ceil(minimum / crop)} or more pixels"
        )


def _check_depth(name: str, unfreeze: int) -> None:
    most = BACKBONES[name].layers
    if unfreeze > most:
        raise ConfigError(
            f"model.unfreeze is {unfreeze}, but {name} has {most} layers; use 1 to {most}"
        )


def weights_files(config: ModelConfig) -> dict[str, Path]:
    """Where the weights are of each backbone that does not start from random ones.

    Published ImageNet weights are looked for where Keras keeps them,
    ``$KERAS_HOME/models/`` (``~/.keras/models/``).

    Raises:
        UserError: there is no such file, or the name stands for no weights of this backbone.
    """
    return {
        name: _weights_file(
            name, weights, f"model.backbones.{name}" if config.backbones else "model.weights"
        )
        for name, weights in backbones(config).items()
        if weights != "none"
    }


def _weights_file(name: str, weights: str, key: str) -> Path:
    backbone = BACKBONES[name]
    if weights == "demo" and backbone.weights == "demo":
        return Path(__file__).parents[1] / "synthetic" / "weights" / "demo.weights.h5"
    if weights == "imagenet" and backbone.weights == "imagenet":
        path = imagenet_folder() / backbone.file
        if not path.is_file():
            raise ConfigError(
                f"ImageNet weights of {name} are not at {path}; fetch them where there is "
                f"internet (xray_hpc.stage with the same model does), or give {key} a file or "
                "'none'"
            )
        return path
    path = Path(weights).expanduser()
    if path.is_file():
        with path.open("rb") as handle:
            if handle.read(len(HDF5)) != HDF5:
                raise ConfigError(f"{key} is {path}, which is no HDF5 file (.h5)")
        return path.resolve()
    if path.name == weights and not path.suffix:
        raise ConfigError(one_of(f"{key} of {name}", weights, [backbone.weights, "none"]))
    raise ConfigError(f"{key} of {name} is {weights}, but there is no such file")


def imagenet_folder() -> Path:
    """Where Keras keeps the weights that it downloads."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def weights_digests(config: ModelConfig) -> dict[str, str]:
    """Name the starting weights of each backbone by their content: SHA-256 of its file.

    Backbones that start from random weights have none.
    """
    return {name: _sha256(path) for name, path in weights_files(config).items()}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
