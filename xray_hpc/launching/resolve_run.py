"""Resolve a composed configuration into a run: every ``auto`` replaced, every value checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xray_hpc.absolute_path import absolute_path
from xray_hpc.config.dataclass_conversion import build
from xray_hpc.config.run_config import (
    AugmentSettings,
    DataConfig,
    ModelConfig,
    RunConfig,
    RunSettings,
)
from xray_hpc.config.sweep_settings import RUN_KEYS
from xray_hpc.data.augmentation_parameters import needs_interpolation
from xray_hpc.data.index import Survey, survey
from xray_hpc.data.splits import check_folder_split, count_trainable, split_images
from xray_hpc.errors import ConfigError
from xray_hpc.features.extractor_costs import feature_extractor
from xray_hpc.features.feature_plan import cached_bytes, resolve_features
from xray_hpc.models.check_model_config import check_model, drop_unused_keys
from xray_hpc.models.weights_files import weights_digests, with_absolute_weights
from xray_hpc.records.frozen_run import FrozenRun, Inputs


class RunResolver:
    """Resolves the runs of a sweep; reads each data set and each weights file once."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._surveys: dict[object, Survey] = {}
        self._training_images: dict[DataConfig, int] = {}
        self._digests: dict[object, dict[str, str]] = {}

    def resolve(self, values: Mapping[str, Any]) -> tuple[FrozenRun, tuple[str, ...]]:
        """Return the run that a composed configuration describes, and its unused keys.

        Args:
            values: The configuration as a plain mapping; keys of the sweep are ignored.

        Raises:
            ConfigError: A key is unknown or missing, or a value does not fit the model, the
                weights or the images.
            DataError: The images or the weights cannot be read.
        """
        settings = _build(values)
        model_settings, unused = drop_unused_keys(settings.model)
        ignored = [f"model.{key}" for key in unused]
        data, augment = _normalize_data(settings.data), _normalize_augment(settings)
        found = self._survey(data)
        images = count_trainable(found.images, data)
        check_folder_split(data, sum(found.images["validation"]))
        model = model_settings.resolve(found.classes)
        check_model(model, data, found.classes)
        model = with_absolute_weights(model)
        if feature_extractor(model) is None and settings.train.features not in ("auto", "off"):
            ignored.append("train.features")
        settings = dataclasses.replace(settings, data=data, augment=augment)
        views, features = resolve_features(settings, model, images)
        train = settings.train.resolve(features)
        config = RunConfig(data, model, augment.resolve(views), train, settings.seed)
        inputs = Inputs(found.fingerprint, self._weights_digests(model))
        return FrozenRun(config, inputs, self._cache), tuple(ignored)

    def check_batch(self, run: FrozenRun) -> None:
        """Raise ``ConfigError`` if a run has fewer training images than one batch.

        Of the demo, only training and validation images together are known before it is drawn.
        """
        data, batch = run.config.data, run.config.train.batch_size
        found = self._survey(data)
        images, what = count_trainable(found.images, data), "images to train and validate on"
        if found.entries:
            if data not in self._training_images:
                self._training_images[data] = len(split_images(found.entries, data)["train"])
            images, what = self._training_images[data], "training images"
        if batch > images:
            few = f"there are only {images} {what}"
            raise ConfigError(f"train.batch_size is {batch}, but {few}; use a smaller one")

    def cached_bytes(self, run: FrozenRun) -> int:
        """Return the size in bytes of the features that a run caches."""
        images, data = self._survey(run.config.data).images, run.config.data
        return cached_bytes(run.config, count_trainable(images, data), sum(images["test"]))

    def _survey(self, data: DataConfig) -> Survey:
        key = (data.source, data.root, data.demo_images, data.demo_seed, data.demo_classes)
        if key not in self._surveys:
            self._surveys[key] = survey(data, self._cache)
        return self._surveys[key]

    def _weights_digests(self, model: ModelConfig) -> dict[str, str]:
        key = tuple(model.backbone_weights.items())
        if key not in self._digests:
            self._digests[key] = weights_digests(model)
        return self._digests[key]


def _build(values: Mapping[str, Any]) -> RunSettings:
    """Build the typed configuration of a run, as the user gave it."""
    for key in RUN_KEYS:
        if key not in values:
            raise ConfigError(f"{key} is missing; give it a value")
    content = {key: values[key] for key in RUN_KEYS}
    data = content["data"]
    if isinstance(data, Mapping) and data.get("root") not in (None, ""):
        content["data"] = {**data, "root": str(absolute_path(str(data["root"])))}
    return build(RunSettings, content)


def _normalize_data(data: DataConfig) -> DataConfig:
    """Give fixed values to keys that have no effect, so that they do not make another run."""
    if data.source == "demo":
        data = dataclasses.replace(data, range="auto")
    else:
        data = dataclasses.replace(data, demo_images=None, demo_seed=None, demo_classes=None)
    if data.split == "folder":
        seed = 0 if data.per_class is None else data.split_seed
        data = dataclasses.replace(data, split_seed=seed, validation_fraction=0.2)
    return data


def _normalize_augment(settings: RunSettings) -> AugmentSettings:
    """Do the same for augmentation: a crop of the whole image, an unused fill mode."""
    augment, data = settings.augment, settings.data
    if data.input_size == data.image_size:
        augment = dataclasses.replace(augment, crop=False)
    if not needs_interpolation(augment):
        augment = dataclasses.replace(augment, fill_mode=AugmentSettings.fill_mode)
    return augment
