"""Resolve and check the model part of a run's configuration."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

from xray_hpc.config.run_config import ModelConfig, RunConfig
from xray_hpc.errors import ConfigError, one_of
from xray_hpc.models.registry import BACKBONES, COMMON_KEYS, MODELS
from xray_hpc.models.weights_files import weights_files


def resolve_model(config: ModelConfig) -> tuple[ModelConfig, tuple[str, ...]]:
    """Return the canonical form of ``config``; two runs with the same one are the same run.

    Keys that the model does not use take their defaults. The backbones of a stacked model are
    sorted by name, without those that are unset. ``auto`` preprocessing without a backbone becomes
    ``unit``.

    Returns:
        The configuration, and the unused keys that had another value than their default.

    Raises:
        ConfigError: the model is unknown.
    """
    if config.name not in MODELS:
        raise ConfigError(one_of("model", config.name, MODELS))
    uses = MODELS[config.name].uses | COMMON_KEYS
    fields = dataclasses.fields(ModelConfig)
    defaults: dict[str, Any] = {item.name: item.default for item in fields if item.name not in uses}
    reset = tuple(key for key, value in defaults.items() if getattr(config, key) != value)
    config = dataclasses.replace(config, **defaults)
    if config.backbones is not None:
        config = dataclasses.replace(config, backbones=config.backbone_weights)
    if config.preprocessing == "auto" and not uses & {"backbone", "backbones"}:
        config = dataclasses.replace(config, preprocessing="unit")
    return config, reset


def output_activation(config: ModelConfig, classes: int) -> Literal["sigmoid", "softmax"]:
    """Return the activation of the output layer: one sigmoid unit, or softmax over the classes.

    Raises:
        ConfigError: ``model.output`` is sigmoid, but there are more than two classes.
    """
    if config.output == "sigmoid" and classes > 2:
        raise ConfigError(
            f"model.output is sigmoid, which separates two classes, but there are {classes}; "
            "use softmax or auto"
        )
    if config.output == "auto":
        return "sigmoid" if classes == 2 else "softmax"
    return config.output


def check_model(config: RunConfig, classes: int) -> None:
    """Check a resolved model against its backbones, the images and the number of classes.

    Raises:
        ConfigError: a backbone or its weights are unknown, ``unfreeze`` is more than its layers,
            a stacked model has fewer than two backbones, the images are too small, or the output
            does not fit the classes.
    """
    model = config.model
    spec = MODELS[model.name]
    output_activation(model, classes)
    missing = [key for key in sorted(spec.uses) if getattr(model, key) is None]
    if missing:
        raise ConfigError(f"model.{missing[0]} is not set; model {model.name} needs it")
    check_backbones(model)
    _check_image_size(config, spec.minimum, model.name)
    for name in model.backbone_weights:
        _check_image_size(config, BACKBONES[name].minimum, name)
    if model.unfreeze is not None:
        _check_depth(str(model.backbone), model.unfreeze)
    weights_files(model)


def check_backbones(config: ModelConfig) -> None:
    """Check that the model's backbones exist, and that a stacked model has at least two.

    Raises:
        ConfigError: a backbone is unknown, or a stacked model has fewer than two.
    """
    names = list(config.backbone_weights)
    for name in names:
        if name not in BACKBONES:
            key = "model.backbone" if config.backbones is None else "model.backbones"
            raise ConfigError(one_of(key, name, BACKBONES))
    if "backbones" in MODELS[config.name].uses and len(names) < 2:
        raise ConfigError(
            f"model.backbones has only {''.join(names) or 'nothing'}, but model {config.name} "
            "needs at least two; add one with ++model.backbones.NAME=WEIGHTS"
        )


def _check_image_size(config: RunConfig, minimum: int, name: str) -> None:
    side, crop = config.data.input_size, config.data.crop
    if side < minimum:
        cropped = "" if crop == 1 else f" (cropped to {side} by data.crop={crop:g})"
        raise ConfigError(
            f"data.image_size is {config.data.image_size}{cropped}, too small for {name}; "
            f"use at least {math.ceil(minimum / crop)} pixels"
        )


def _check_depth(name: str, unfreeze: int) -> None:
    layers = BACKBONES[name].layers
    if unfreeze > layers:
        raise ConfigError(
            f"model.unfreeze is {unfreeze}, but {name} has {layers} layers; use 1 to {layers}"
        )
