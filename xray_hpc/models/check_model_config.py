"""Check the model part of a run's configuration, and drop what the model does not use."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from xray_hpc.config.run_config import DataConfig, ModelConfig, ModelSettings
from xray_hpc.errors import ConfigError, one_of
from xray_hpc.models.registry import BACKBONES, COMMON_KEYS, MODELS
from xray_hpc.models.weights_files import weights_files


def drop_unused_keys(settings: ModelSettings) -> tuple[ModelSettings, tuple[str, ...]]:
    """Reset the keys that the model does not use; equal models then have equal settings.

    The backbones of a stacked model are sorted by name, without those that are unset.

    Returns:
        The settings, and the unused keys that had another value than their default.

    Raises:
        ConfigError: the model is unknown.
    """
    if settings.name not in MODELS:
        raise ConfigError(one_of("model", settings.name, MODELS))
    uses = MODELS[settings.name].uses | COMMON_KEYS
    fields = dataclasses.fields(ModelSettings)
    changes: dict[str, Any] = {item.name: item.default for item in fields if item.name not in uses}
    reset = tuple(key for key, value in changes.items() if getattr(settings, key) != value)
    if "backbones" not in changes and settings.backbones is not None:
        changes["backbones"] = settings.backbone_weights
    return dataclasses.replace(settings, **changes), reset


def check_model(model: ModelConfig, data: DataConfig, classes: int) -> None:
    """Check a resolved model against its backbones, the images and the number of classes.

    Raises:
        ConfigError: they do not fit, or a backbone or its weights are unknown.
    """
    spec = MODELS[model.name]
    if model.output == "sigmoid" and classes > 2:
        raise ConfigError(
            f"model.output is sigmoid, which separates two classes, but there are {classes}; "
            "use softmax or auto"
        )
    missing = [key for key in sorted(spec.uses) if getattr(model, key) is None]
    if missing:
        raise ConfigError(f"model.{missing[0]} is not set; model {model.name} needs it")
    check_backbones(model)
    _check_image_size(data, spec.minimum, model.name)
    for name in model.backbone_weights:
        _check_image_size(data, BACKBONES[name].minimum, name)
        layers, unfreeze = BACKBONES[name].layers, model.unfreeze or 0
        if unfreeze > layers:
            raise ConfigError(
                f"model.unfreeze is {unfreeze}, but {name} has {layers} layers; use 1 to {layers}"
            )
    weights_files(model)


def check_backbones(config: ModelSettings | ModelConfig) -> None:
    """Raise ConfigError if a backbone is unknown or a stacked model has fewer than two."""
    names = config.backbone_weights
    for name in names:
        if name not in BACKBONES:
            key = "model.backbone" if config.backbones is None else "model.backbones"
            raise ConfigError(one_of(key, name, BACKBONES))
    if "backbones" in MODELS[config.name].uses and len(names) < 2:
        raise ConfigError(
            f"model.backbones has only {''.join(names) or 'nothing'}, but model {config.name} "
            "needs at least two; add one with ++model.backbones.NAME=WEIGHTS"
        )


def _check_image_size(data: DataConfig, minimum: int, name: str) -> None:
    side, crop = data.input_size, data.crop
    if side < minimum:
        cropped = "" if crop == 1 else f" (cropped to {side} by data.crop={crop:g})"
        raise ConfigError(
            f"data.image_size is {data.image_size}{cropped}, too small for {name}; "
            f"use at least {math.ceil(minimum / crop)} pixels"
        )
