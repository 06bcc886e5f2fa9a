"""Plan cached features: whether a run uses them, their size, and which runs share them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Literal

from xray_hpc.config.run_config import DataConfig, ModelConfig, RunConfig, RunSettings
from xray_hpc.errors import ConfigError
from xray_hpc.features.extractor_costs import FeatureExtractor, feature_extractor
from xray_hpc.models.registry import MODELS
from xray_hpc.records.frozen_run import FrozenRun

DEFAULT_VIEWS = 4
MIN_SHARE = 0.5  # of the forward pass, for features to be cached by default
MAX_BYTES = 20 * 2**30  # of one run's features, for them to be cached by default
BACKWARD_COST = 2  # of a layer, relative to its forward pass
READ_COST = 0.005  # of reading the features of an image, relative to a forward pass


def resolve_features(
    settings: RunSettings, model: ModelConfig, images: int
) -> tuple[int | None, Literal["float32", "float16", "off"]]:
    """Resolve ``augment.views`` and ``train.features``.

    By default a run caches its features if the feature extractor does at least ``MIN_SHARE`` of
    the forward pass and the features take at most ``MAX_BYTES``: vectors in float32, feature maps
    in float16 to halve their size, and ``DEFAULT_VIEWS`` augmented views of each training image.
    Without augmentation there is one view, and without a feature extractor there are no features.

    Args:
        images: the number of images for training and validation.

    Returns:
        The number of views of each training image (None: new views in every epoch), and the data
        type of cached features.

    Raises:
        ConfigError: ``train.features`` asks for cached features, but the views change every epoch.
    """
    extractor, data = feature_extractor(model), settings.data
    views, dtype = settings.augment.views, settings.train.features
    if settings.augment.identity:
        views = 1
    if extractor is None:
        dtype = "off"
    elif dtype == "auto":
        dtype = "off" if views == "per_epoch" else _default_dtype(extractor, data, views, images)
    elif dtype != "off" and views == "per_epoch":
        raise ConfigError(
            f"train.features is {dtype}, but augment.views is per_epoch: features of images that "
            "change every epoch cannot be cached; set augment.views to a number or to auto"
        )
    if views == "auto":
        views = "per_epoch" if dtype == "off" else DEFAULT_VIEWS
    return None if views == "per_epoch" else min(views, settings.train.epochs), dtype


def _default_dtype(
    extractor: FeatureExtractor, data: DataConfig, views: int | Literal["auto"], images: int
) -> Literal["float32", "float16", "off"]:
    number = DEFAULT_VIEWS if views == "auto" else views
    itemsize = 4 if extractor.side == 0 else 2
    size = itemsize * images * number * extractor.feature_size(data.input_size)
    if extractor.share < MIN_SHARE or size > MAX_BYTES:
        return "off"
    return "float32" if extractor.side == 0 else "float16"


def cached_bytes(config: RunConfig, images: int, test_images: int) -> int:
    """Return the approximate size of the cached features of a resolved run; 0 if it has none.

    ``images`` is the number of images for training and validation.
    """
    extractor, views = feature_extractor(config.model), config.augment.views
    if extractor is None or config.train.features == "off" or views is None:
        return 0
    fraction = config.data.validation_fraction
    itemsize = 4 if config.train.features == "float32" else 2
    training = itemsize * views * (1 - fraction) * images
    evaluation = 4 * (fraction * images + test_images)
    return round(extractor.feature_size(config.data.input_size) * (training + evaluation))


def group_by_pass(runs: Iterable[FrozenRun]) -> list[list[FrozenRun]]:
    """Group the runs with cached features by the pass over the images that computes them.

    One pass serves feature extractors that end at different layers of the same backbone.
    """
    groups: dict[str, list[FrozenRun]] = {}
    for run in runs:
        if run.config.train.features != "off":
            groups.setdefault(_pass_key(run), []).append(run)
    return list(groups.values())


def distinct_extractors(runs: Sequence[FrozenRun]) -> list[FrozenRun]:
    """Return, of the runs of one pass, the first for each feature extractor and data type."""
    first: dict[object, FrozenRun] = {}
    for run in runs:
        first.setdefault((feature_extractor(run.config.model), run.config.train.features), run)
    return list(first.values())


def _pass_key(run: FrozenRun) -> str:
    config, augmented = run.config, not run.config.augment.identity
    data = asdict(config.data) | {"root": None}
    random_weights = set(config.model.backbone_weights) - set(run.inputs.weights)
    parts = [
        [data, run.inputs.data, run.inputs.weights, str(run.cache)],
        [sorted(config.model.backbone_weights), config.model.preprocessing],
        [MODELS[config.model.name].module, config.train.precision],
        [asdict(config.augment) if augmented else None],
        config.seed if augmented or random_weights else None,
    ]
    return json.dumps(parts, sort_keys=True)


def estimate_speedup(runs: Iterable[FrozenRun]) -> float:
    """Estimate by what factor cached features reduce the work of all ``runs``.

    The work of a layer in an epoch is 1 if it is frozen and ``1 + BACKWARD_COST`` if it is trained.
    Start-up and runs without cached features are left out.
    """
    uncached = cached = 0.0
    for group in group_by_pass(runs):
        longest_pass = 0.0
        for run in group:
            extractor, views = feature_extractor(run.config.model), run.config.augment.views
            assert extractor is not None
            assert views is not None
            epochs, fraction = run.config.train.epochs, run.config.data.validation_fraction
            head = max(1 - extractor.share, READ_COST)
            head_epoch = (1 - fraction) * (1 + BACKWARD_COST) * head + fraction * head
            uncached += epochs * (head_epoch + extractor.share)
            cached += epochs * head_epoch
            longest_pass = max(longest_pass, extractor.share * (views * (1 - fraction) + fraction))
        cached += longest_pass
    return uncached / cached if cached else 1.0
