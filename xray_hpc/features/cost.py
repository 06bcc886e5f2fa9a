"""What a launch knows of feature extractors, without TensorFlow."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xray_hpc.config.run_config import ModelConfig, RunConfig
from xray_hpc.config.schema import as_dict
from xray_hpc.errors import ConfigError
from xray_hpc.models.registry import MODELS
from xray_hpc.records.frozen_run import FrozenRun

FILE = Path(__file__).parent / "extractors.json"
"""Made by ``python -m xray_hpc.features.measure_cost`` and shipped with the package."""

SIDE = 224  # pixels, for which the file is made
VIEWS = 4  # as many as a training has by itself
LEAST_SHARE = 0.5  # of the forward pass, for a feature extractor to be kept by itself
BACKWARD = 2  # what the gradient of a layer costs beside its forward pass
FLOOR = 0.005  # of a forward pass: what an image costs a training that has it from a file
LARGEST = 20 * 2**30  # bytes of outputs, for a feature extractor to be kept by itself


@dataclass(frozen=True)
class FeatureExtractor:
    """The frozen part of a model.

    ``unfreeze`` is the most layers that may train behind it, ``side`` that of its outputs for
    images of 224 px (0: they are vectors), ``channels`` how many they have, ``share`` what it is of
    the multiplications of the model's forward pass.
    """

    unfreeze: int
    side: int
    channels: int
    share: float

    def output_size(self, image_side: int) -> int:
        """How many numbers it gives for an image."""
        side = math.ceil(image_side * self.side / SIDE)
        return self.channels * max(side, 1) ** 2


def feature_extractor(config: ModelConfig) -> FeatureExtractor | None:
    """The feature extractor of a settled model; ``None`` where all of it trains."""
    if not MODELS[config.name].uses & {"backbone", "backbones"}:
        return None
    parts = [_of(name, config.unfreeze or 0) for name in config.backbone_weights]
    if len(parts) > 1:  # side by side, all of them frozen
        channels = sum(part.channels for part in parts if part)
        return FeatureExtractor(0, 0, channels, min(part.share for part in parts if part))
    return parts[0]


def _of(backbone: str, unfreeze: int) -> FeatureExtractor | None:
    return next((part for part in _table()[backbone] if unfreeze <= part.unfreeze), None)


@functools.cache
def _table() -> dict[str, list[FeatureExtractor]]:
    content = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: [FeatureExtractor(*row) for row in rows] for name, rows in content.items()}


def resolve(config: RunConfig, images: int) -> RunConfig:
    """Put a number or ``per_epoch`` for ``augment.views``, and what is kept for ``train.features``.

    By itself a training keeps what a feature extractor gives where that is half of its work or
    more, for ``VIEWS`` views of each image: vectors in float32, feature maps in float16, which is
    half as large, and nothing that would be larger than ``LARGEST``. Images that are not changed
    have one view, and a model without a feature extractor has nothing to keep. ``images`` train and
    validate.

    Raises:
        UserError: outputs are to be kept, but the views are drawn per epoch.
    """
    views, kept = config.augment.views, config.train.features
    part, still = feature_extractor(config.model), config.augment.identity
    if part is None:
        kept = "off"
    elif kept == "auto":
        kept = "off" if views == "per_epoch" and not still else _kept(part, config, images)
    elif kept != "off" and views == "per_epoch" and not still:
        raise ConfigError(
            f"train.features is {kept}, but augment.views is per_epoch: images that are new in "
            "every epoch have no outputs to keep; give a number of views, or auto"
        )
    if still:
        views = 1
    elif views == "auto":
        views = "per_epoch" if kept == "off" else VIEWS
    if isinstance(views, int):
        views = min(views, config.train.epochs)
    return dataclasses.replace(
        config,
        augment=dataclasses.replace(config.augment, views=views),
        train=dataclasses.replace(config.train, features=kept),
    )


def _kept(
    part: FeatureExtractor, config: RunConfig, images: int
) -> Literal["float32", "float16", "off"]:
    """How a training keeps what its feature extractor gives by itself."""
    views = config.augment.views
    number = 1 if config.augment.identity else VIEWS if isinstance(views, str) else views
    width = 4 if part.side == 0 else 2
    size = width * images * number * part.output_size(config.data.input_size)
    if part.share < LEAST_SHARE or size > LARGEST:
        return "off"
    return "float32" if part.side == 0 else "float16"


def kept_bytes(config: RunConfig, images: int, tested: int) -> int:
    """How many bytes a settled run keeps of the cached features, within rounding; 0: it has none.

    ``images`` train and validate, ``tested`` are those of the test.
    """
    part, views, fraction = (
        feature_extractor(config.model),
        config.augment.views,
        config.data.validation_fraction,
    )
    if part is None or config.train.features == "off" or isinstance(views, str):
        return 0
    width = 4 if config.train.features == "float32" else 2
    an_image = part.output_size(config.data.input_size)
    trained = width * views * (1 - fraction) * images
    return round(an_image * (trained + 4 * (fraction * images + tested)))


def passes(runs: Iterable[FrozenRun]) -> list[list[FrozenRun]]:
    """The runs that keep the cached features, by what one pass over the images computes for them.

    The frozen parts of models on the same backbone differ only in where they end.
    """
    found: dict[str, list[FrozenRun]] = {}
    for run in runs:
        if run.config.train.features not in ("auto", "off"):
            found.setdefault(_pass(run), []).append(run)
    return list(found.values())


def distinct(runs: Sequence[FrozenRun]) -> list[FrozenRun]:
    """Return the first run of a pass for each feature extractor and type of cached features."""
    first: dict[object, FrozenRun] = {}
    for run in runs:
        first.setdefault((feature_extractor(run.config.model), run.config.train.features), run)
    return list(first.values())


def _pass(run: FrozenRun) -> str:
    config, drawn = run.config, not run.config.augment.identity
    data = as_dict(config.data) | {"root": None}
    random_weights = set(config.model.backbone_weights) - set(run.inputs.weights)
    decides = [
        [data, run.inputs.data, run.inputs.weights, str(run.cache)],
        [sorted(config.model.backbone_weights), config.model.preprocessing],
        [MODELS[config.model.name].module, config.train.precision],
        [as_dict(config.augment) if drawn else None],
        config.seed if drawn or random_weights else None,
    ]
    return json.dumps(decides, sort_keys=True)


def saving(runs: Iterable[FrozenRun]) -> float:
    """Return by what factor cached features reduce the work of all ``runs``.

    In multiplications of the backbones, counted as if every training took all its epochs: of a
    frozen layer one forward pass, of one that trains ``1 + BACKWARD``. The estimate leaves out
    start-up, and models without a feature extractor.
    """
    without = with_them = 0.0
    for group in passes(runs):
        deepest = 0.0
        for run in group:
            part, fraction = (
                feature_extractor(run.config.model),
                run.config.data.validation_fraction,
            )
            assert part is not None
            head = max(1 - part.share, FLOOR)
            epoch = (1 - fraction) * (1 + BACKWARD) * head + fraction * head
            frozen = part.share  # of training and validation images alike
            without += run.config.train.epochs * (epoch + frozen)
            with_them += run.config.train.epochs * epoch
            views = run.config.augment.views
            assert isinstance(views, int)
            deepest = max(deepest, part.share * (views * (1 - fraction) + fraction))
        with_them += deepest
    return without / with_them if with_them else 1.0
