"""What a run is, as typed values that are checked where they are made.

Hydra composes YAML (hydra_app.py); :func:`~xray_hpc.config.schema.build` turns the plain mapping
into these frozen dataclasses once, and nothing behind it sees a ``DictConfig``. A value of the
wrong type or out of range, an unknown key or a missing key raises ``UserError`` naming the key.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal

from xray_hpc.config.schema import check
from xray_hpc.errors import nearest

Monitor = Literal["val_loss", "val_accuracy", "val_auc"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, how they are packed, and how they are split.

    ``image_size`` is the side of the packed square in pixels; ``channels`` is 1 (grey) or 3 (RGB).
    ``crop`` is the share of that side which the network sees: the central square of
    ``input_size`` pixels. ``clahe`` is the clip limit of a contrast-limited adaptive histogram
    equalization (Zuiderveld, 1994), ``None`` for none. ``per_class`` takes so many images of each
    class for training and validation together (or as many as the smallest class has), drawn with
    ``split_seed``; ``None`` takes all.

    ``split`` says where the validation images come from: ``patient`` (grouped by patient and
    stratified by class), ``random`` (as Keras's ``image_dataset_from_directory`` draws them) or
    ``folder`` (the tree's own ``val/``, or the CSV's own split column).
    """

    source: Literal["demo", "folder", "csv"]
    root: str | None = None
    image_size: int
    channels: Literal[1, 3]
    crop: float = 1.0
    clahe: float | None = None
    per_class: int | None = None
    split: Literal["patient", "random", "folder"]
    validation_fraction: float
    split_seed: int
    demo_images: int | None = None
    demo_seed: int | None = None
    demo_classes: Literal[2, 3] | None = 2

    def __post_init__(self) -> None:
        if self.source == "demo":
            must = "be null with data=demo, which draws its own images (data=folder reads yours)"
            check(self.root is None, "data.root", self.root, must)
        else:
            check(bool(self.root), "data.root", self.root, "name a path")
        check(8 <= self.image_size <= 4096, "data.image_size", self.image_size, "be 8 to 4096")
        check(0.1 <= self.crop <= 1, "data.crop", self.crop, "be 0.1 to 1, a share of the side")
        if self.clahe is not None:
            check(self.clahe > 0, "data.clahe", self.clahe, "be more than 0, or null")
        if self.per_class is not None:
            check(self.per_class >= 2, "data.per_class", self.per_class, "be 2 or more, or null")
        fraction = self.validation_fraction
        check(0 < fraction < 1, "data.validation_fraction", fraction, "lie between 0 and 1")
        check(0 <= self.split_seed < 2**32, "data.split_seed", self.split_seed, "be 0 to 2^32-1")
        if self.source == "demo":
            images = self.demo_images or 0
            check(40 <= images <= 100_000, "data.demo_images", images, "be 40 to 100000")
            seed = -1 if self.demo_seed is None else self.demo_seed
            check(0 <= seed < 2**32, "data.demo_seed", self.demo_seed, "be 0 to 2^32-1")
            classes = self.demo_classes
            check(classes is not None, "data.demo_classes", classes, "be 2 or 3")

    @property
    def input_size(self) -> int:
        """The side in pixels of what the network sees."""
        return round(self.image_size * self.crop)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """What the network sees: height, width, channels."""
        return (self.input_size, self.input_size, self.channels)


@dataclass(frozen=True)
class ModelConfig:
    """Which network. A key that the model does not use is ``None`` (see models.registry).

    ``weights`` is ``imagenet`` or ``demo`` (whichever the backbone was published with), ``none``
    or the path of a weights file. ``unfreeze`` counts the backbone's last layers that train.
    ``backbones`` maps the backbones of a stacked model to their weights; one whose weights are
    ``None`` is left out.

    ``preprocessing`` is ``auto`` (what the backbone was trained on; 0..1 without one), ``unit``
    (0..1) or ``midrange`` (each image by the middle of its own range, to about [-1, 1]).
    ``output`` is ``sigmoid`` (one unit, for two classes), ``softmax`` (one unit a class) or
    ``auto``: a sigmoid for two classes, softmax for more.
    """

    name: str
    backbone: str | None = None
    weights: str | None = None
    unfreeze: int | None = None
    preprocessing: Literal["auto", "unit", "midrange"] = "auto"
    head_units: int | None = None
    head_dropout: float | None = None
    backbones: dict[str, Any] | None = None
    output: Literal["auto", "sigmoid", "softmax"] = "auto"

    def __post_init__(self) -> None:
        if self.unfreeze is not None:
            check(self.unfreeze >= 1, "model.unfreeze", self.unfreeze, "be 1 or more")
        if self.head_units is not None:
            check(self.head_units >= 1, "model.head_units", self.head_units, "be 1 or more")
        if self.head_dropout is not None:
            rate = self.head_dropout
            check(0 <= rate < 1, "model.head_dropout", rate, "be at least 0 and below 1")
        for name, weights in (self.backbones or {}).items():
            fits = weights is None or isinstance(weights, str)
            must = "name weights: imagenet, none or a file; or be null"
            check(fits, f"model.backbones.{name}", weights, must)

    @property
    def backbone_weights(self) -> dict[str, str]:
        """The configured weights of each backbone of the model, sorted by its name."""
        if self.backbones is not None:
            weights = self.backbones
        else:
            weights = {} if self.backbone is None else {self.backbone: self.weights}
        return {name: value for name, value in sorted(weights.items()) if value is not None}


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random changes to training images, drawn for each image and epoch or view.

    ``rotation`` and ``shear`` are the largest angles in degrees; ``zoom`` is the largest relative
    change of size (0.1: 90 % to 110 %, height and width drawn separately); shifts are fractions of
    the height and width. ``horizontal_flip`` flips left and right half of the time; ``rot90`` turns
    by 0, 90, 180 or 270 degrees. ``crop`` cuts the square that the network sees (``data.crop``) at
    a random place instead of the centre. ``brightness`` multiplies the pixels by 1 -+ so much.
    What comes in from outside is filled by ``fill_mode``.

    ``views`` is how many changes each image has: epoch e shows what is drawn for epoch e mod
    ``views``. ``per_epoch`` draws anew in every epoch; ``auto`` is chosen when a run is planned.
    """

    rotation: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    height_shift: float = 0.0
    width_shift: float = 0.0
    horizontal_flip: bool = False
    rot90: bool = False
    crop: bool = False
    brightness: float = 0.0
    fill_mode: Literal["reflect", "nearest", "constant", "wrap"] = "reflect"
    views: int | str = "auto"

    def __post_init__(self) -> None:
        check(0 <= self.rotation <= 180, "augment.rotation", self.rotation, "be 0 to 180 degrees")
        check(0 <= self.shear < 90, "augment.shear", self.shear, "be 0 to below 90 degrees")
        for key in ("zoom", "height_shift", "width_shift", "brightness"):
            value = getattr(self, key)
            check(0 <= value < 1, f"augment.{key}", value, "be at least 0 and below 1")
        views = self.views
        fits = views in ("auto", "per_epoch") if isinstance(views, str) else views >= 1
        hint = nearest(views, ("auto", "per_epoch")) if isinstance(views, str) else ""
        many = f"be auto, per_epoch, or a number of views, 1 or more{hint}"
        check(fits, "augment.views", views, many)

    @property
    def identity(self) -> bool:
        """Whether every image stays as it is (its central square, if ``data.crop`` cuts one)."""
        return dataclasses.replace(self, fill_mode="reflect", views="auto") == AugmentConfig()


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """``keras.callbacks.EarlyStopping``: stop after ``patience`` epochs without a gain."""

    monitor: Monitor = "val_loss"
    patience: int = 5
    min_delta: float = 1e-7

    def __post_init__(self) -> None:
        check(self.patience >= 0, "train.early_stopping.patience", self.patience, "be 0 or more")
        check(self.min_delta >= 0, "train.early_stopping.min_delta", self.min_delta, "be 0 or more")


@dataclass(frozen=True)
class ReduceLROnPlateauConfig:
    """``keras.callbacks.ReduceLROnPlateau``: multiply the learning rate by ``factor``."""

    monitor: Monitor = "val_loss"
    factor: float = 0.2
    patience: int = 2
    min_delta: float = 1e-7
    cooldown: int = 0
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        check(0 < self.factor < 1, "train.reduce_lr.factor", self.factor, "lie between 0 and 1")
        for key in ("patience", "min_delta", "cooldown", "min_lr"):
            value = getattr(self, key)
            check(value >= 0, f"train.reduce_lr.{key}", value, "be 0 or more")


@dataclass(frozen=True)
class CheckpointConfig:
    """When a training writes a checkpoint: after so many steps or seconds, whichever comes first.

    It waits for none but begins the next only when the last is in place. One is also written when
    it is told to end, and after the last epoch. None of it changes the result.
    """

    steps: int | None = None
    seconds: float | None = 60.0

    def __post_init__(self) -> None:
        if self.steps is not None:
            check(self.steps >= 1, "train.checkpoint.steps", self.steps, "be 1 or more, or null")
        if self.seconds is not None:
            must = "be 0 or more, or null"
            check(self.seconds >= 0, "train.checkpoint.seconds", self.seconds, must)


@dataclass(frozen=True)
class TrainConfig:
    """How the weights are found. ``batch_size`` is the global batch, over all replicas.

    ``precision`` is Keras's dtype policy: the mixed ones compute in 16 bits, and keep the weights
    and the output in float32.
    ``balance`` says what is done about classes of different size: ``none``; ``class_weights``
    (an image weighs N / (classes x images of its class) in the loss); or ``sampling`` (an epoch
    draws every class equally often). ``keep`` is the measure by which the best epoch's weights are
    kept at the end, or ``last``; ``save_best`` also writes them to ``checkpoints/`` in each epoch
    that is the best so far. ``features`` is how the cached features are kept for all
    epochs and runs, ``off`` not at all; ``auto`` is chosen when a run is planned (see
    features.feature_plan). ``checkpoint`` is not part of a run's identity.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    balance: Literal["none", "class_weights", "sampling"] = "none"
    keep: Literal["val_loss", "val_accuracy", "val_auc", "last"] = "val_loss"
    save_best: bool = False
    features: Literal["auto", "float32", "float16", "off"] = "auto"
    early_stopping: EarlyStoppingConfig | None = field(default_factory=EarlyStoppingConfig)
    reduce_lr: ReduceLROnPlateauConfig | None = field(default_factory=ReduceLROnPlateauConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def __post_init__(self) -> None:
        check(self.epochs >= 1, "train.epochs", self.epochs, "be 1 or more")
        check(self.batch_size >= 1, "train.batch_size", self.batch_size, "be 1 or more")
        rate = self.learning_rate
        check(rate > 0 and math.isfinite(rate), "train.learning_rate", rate, "be more than 0")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result, and how often it is checkpointed."""

    data: DataConfig
    model: ModelConfig
    augment: AugmentConfig
    train: TrainConfig
    seed: int

    def __post_init__(self) -> None:
        check(0 <= self.seed < 2**32, "seed", self.seed, "be 0 to 2^32-1")
