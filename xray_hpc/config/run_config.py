"""The configuration of a run: as the user gives it (``RunSettings``), and resolved (``RunConfig``).

Resolving replaces every ``auto``; jobs and training see only a ``RunConfig``. The field defaults
are those of the configuration, and the ``Attributes`` sections its reference.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from xray_hpc.config.dataclass_conversion import check, check_least
from xray_hpc.config.train_config import TrainConfig, TrainSettings

GreyRange = tuple[float, float] | int
"""The values shown black and white; or a number of bits b, for 0 and ``2**b - 1``."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The images, how they are stored, and how they are split.

    Attributes:
        source: Where images come from; chosen with ``data=demo|folder|csv``.
        root: Folder of the images (``data=folder``), or path of the CSV file (``data=csv``).
        image_size (px): Side of the stored, square image.
        channels: 1 (grey) or 3 (RGB); a pretrained RGB backbone gets a grey image three times.
        crop: Share of the side that the network sees, a central square.
        clahe: Clip limit of contrast-limited adaptive histogram equalization (Zuiderveld, 1994),
            usually 2.0; unset: none.
        range: Grey values shown black and white in files of more than 8 bits: ``auto`` (DICOM: its
            window, or else its own range; other files: 0 to the largest value of 8, 10, 12, 14 or
            16 bits that the whole data set needs), a number of bits, or ``[LOW,HIGH]``.
        per_class (images): Images of each class for training and validation together, drawn with
            ``split_seed``; at most as many as the smallest class has; unset: all.
        split: How validation images are chosen: ``patient`` (by patient, stratified by class),
            ``random`` (as Keras's ``image_dataset_from_directory``), ``folder`` (the tree's own
            ``val`` folder, or the split column of the CSV file).
        validation_fraction: Share of the training images that is held out for validation.
        split_seed: Seed of the split.
        demo_images (images): Size of the synthetic demo set, training and test together.
        demo_seed: Seed of the demo set.
        demo_classes: 2 (normal, pneumonia) or 3 (Covid, normal, viral pneumonia).
    """

    source: Literal["demo", "folder", "csv"]
    root: str | None = None
    image_size: int = 224
    channels: Literal[1, 3] = 1
    crop: float = 1.0
    clahe: float | None = None
    range: GreyRange | Literal["auto"] = "auto"
    per_class: int | None = None
    split: Literal["patient", "random", "folder"] = "patient"
    validation_fraction: float = 0.2
    split_seed: int = 42
    demo_images: int | None = None
    demo_seed: int | None = None
    demo_classes: Literal[2, 3] | None = 2

    def __post_init__(self) -> None:
        if self.source != "demo":
            check(bool(self.root), "data.root", self.root, "name a path")
        check_decoding(self.image_size, self.crop, self.clahe, self.range, "data.")
        check_least(2, "data.per_class", self.per_class)
        fraction = self.validation_fraction
        check(0 < fraction < 1, "data.validation_fraction", fraction, "lie between 0 and 1")
        check(0 <= self.split_seed < 2**32, "data.split_seed", self.split_seed, "be 0 to 2^32-1")
        if self.source == "demo":
            must = "be null with data=demo, which draws its own images (data=folder reads yours)"
            check(self.root is None, "data.root", self.root, must)
            images = self.demo_images or 0
            check(40 <= images <= 100_000, "data.demo_images", images, "be 40 to 100000")
            seed = self.demo_seed
            valid = seed is not None and 0 <= seed < 2**32
            check(valid, "data.demo_seed", seed, "be 0 to 2^32-1")
            classes = self.demo_classes
            check(classes is not None, "data.demo_classes", classes, "be 2 or 3")

    @property
    def input_size(self) -> int:
        """Side of the network's input in pixels."""
        return round(self.image_size * self.crop)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of the network's input: height, width, channels."""
        return (self.input_size, self.input_size, self.channels)


def check_decoding(
    image_size: int,
    crop: float,
    clahe: float | None,
    range: GreyRange | Literal["auto"] | None,
    prefix: str = "",
) -> None:
    """Check the keys that say how images are decoded; ``prefix`` comes before their names.

    Raises:
        ConfigError: a value is out of range.
    """
    check(8 <= image_size <= 4096, f"{prefix}image_size", image_size, "be 8 to 4096")
    check(0.1 <= crop <= 1, f"{prefix}crop", crop, "be 0.1 to 1, a share of the side")
    if clahe is not None:
        check(clahe > 0, f"{prefix}clahe", clahe, "be more than 0, or null")
    if isinstance(range, tuple):
        valid = len(range) == 2 and range[0] < range[1]
    else:
        valid = range is None or range == "auto" or 8 <= range <= 32
    shown = list(range) if isinstance(range, tuple) else range
    check(valid, f"{prefix}range", shown, "be auto, 8 to 32 bits, or [LOW,HIGH]")


@dataclass(frozen=True)
class _ModelKeys:
    """The network. A key that the model does not use is unset.

    Attributes:
        name: The model; chosen with ``model=NAME``.
        backbone: Pretrained network below the head (``tl``, ``ft``).
        weights: Initial weights of the backbone: ``imagenet``, ``demo`` (of the demo backbone),
            ``none`` (random), or the path of a weights file.
        unfreeze (layers): How many of the backbone's last layers train (``ft``).
        head_units (units): Width of the dense layer on top of the backbone.
        head_dropout: Dropout rate of that layer.
        backbones: Backbones of a stacked model and their weights: ``{NAME: WEIGHTS}``; one whose
            weights are null is left out.
    """

    name: str
    backbone: str | None = None
    weights: str | None = None
    unfreeze: int | None = None
    head_units: int | None = None
    head_dropout: float | None = None
    backbones: dict[str, str | None] | None = None

    def __post_init__(self) -> None:
        check_least(1, "model.unfreeze", self.unfreeze)
        check_least(1, "model.head_units", self.head_units)
        if self.head_dropout is not None:
            rate = self.head_dropout
            check(0 <= rate < 1, "model.head_dropout", rate, "be at least 0 and below 1")

    @property
    def backbone_weights(self) -> dict[str, str]:
        """The configured weights of each backbone of the model, sorted by its name."""
        weights = self.backbones
        if weights is None:
            weights = {} if self.backbone is None else {self.backbone: self.weights}
        return {name: value for name, value in sorted(weights.items()) if value is not None}


@dataclass(frozen=True)
class ModelSettings(_ModelKeys):
    """The network, as the user gives it.

    Attributes:
        preprocessing: Scaling of pixels: ``unit`` (0..1), ``midrange`` (each image by the middle
            of its own range, to about -1..1), ``auto`` (as the backbone was trained; without a
            backbone ``unit``).
        output: ``sigmoid`` (one unit, two classes), ``softmax`` (one unit per class), ``auto``
            (``sigmoid`` for two classes, else ``softmax``).
    """

    preprocessing: Literal["auto", "unit", "midrange"] = "auto"
    output: Literal["auto", "sigmoid", "softmax"] = "auto"

    def resolve(self, classes: int) -> ModelConfig:
        """Return the configuration of the model for a number of classes."""
        values = vars(self).copy()
        if self.preprocessing == "auto":
            values["preprocessing"] = "backbone" if self.backbone_weights else "unit"
        if self.output == "auto":
            values["output"] = "sigmoid" if classes == 2 else "softmax"
        return ModelConfig(**values)


@dataclass(frozen=True)
class ModelConfig(_ModelKeys):
    """The network, resolved. ``preprocessing`` is ``backbone``: as each backbone was trained."""

    preprocessing: Literal["backbone", "unit", "midrange"] = "unit"
    output: Literal["sigmoid", "softmax"] = "sigmoid"


@dataclass(frozen=True, kw_only=True)
class _AugmentKeys:
    """Random changes to training images, drawn anew for each image and view; none by default.

    Attributes:
        rotation (degrees): Largest rotation, either way.
        zoom: Largest relative change of size; 0.1: 90 % to 110 %, height and width independently.
        shear (degrees): Largest shear, either way.
        height_shift: Largest vertical shift, as a share of the height.
        width_shift: Largest horizontal shift, as a share of the width.
        horizontal_flip: Flip left and right with probability 1/2.
        rot90: Rotate by 0, 90, 180 or 270 degrees.
        crop: Crop (``data.crop``) at a random position instead of the centre.
        brightness: Largest relative change of brightness; 0.1: 90 % to 110 %.
        fill_mode: How pixels from outside of the image are filled.
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

    def __post_init__(self) -> None:
        check(0 <= self.rotation <= 180, "augment.rotation", self.rotation, "be 0 to 180 degrees")
        check(0 <= self.shear < 90, "augment.shear", self.shear, "be 0 to below 90 degrees")
        for key in ("zoom", "height_shift", "width_shift", "brightness"):
            value = getattr(self, key)
            check(0 <= value < 1, f"augment.{key}", value, "be at least 0 and below 1")

    @property
    def identity(self) -> bool:
        """Whether no image is changed (apart from the central crop of ``data.crop``)."""
        names = [item.name for item in dataclasses.fields(_AugmentKeys) if item.name != "fill_mode"]
        return not any(getattr(self, name) for name in names)


@dataclass(frozen=True, kw_only=True)
class AugmentSettings(_AugmentKeys):
    """Augmentation, as the user gives it.

    Attributes:
        views: How many random views each image has; epoch e shows view e mod ``views``.
            ``per_epoch``: a new view in every epoch; ``auto``: 4 if features are cached, else
            ``per_epoch``.
    """

    views: int | Literal["auto", "per_epoch"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.views, int):
            check(self.views >= 1, "augment.views", self.views, "be auto, per_epoch, or 1 or more")

    def resolve(self, views: int | None) -> AugmentConfig:
        """Return the configuration with a number of views; ``None``: new views in every epoch."""
        return AugmentConfig(**vars(self) | {"views": views})


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(_AugmentKeys):
    """Augmentation, resolved. ``views`` is ``None`` if every epoch draws a new view."""

    views: int | None = None


@dataclass(frozen=True)
class RunSettings:
    """A run, as the user gives it.

    Attributes:
        data: The images.
        model: The network.
        augment: Random changes to training images.
        train: The training.
        seed: Seed of initial weights, augmentation, dropout and the order of images.
    """

    data: DataConfig
    model: ModelSettings
    augment: AugmentSettings
    train: TrainSettings
    seed: int = 42

    def __post_init__(self) -> None:
        check(0 <= self.seed < 2**32, "seed", self.seed, "be 0 to 2^32-1")


@dataclass(frozen=True)
class RunConfig:
    """A run, resolved: everything that decides its result, and ``NEUTRAL_KEYS``."""

    data: DataConfig
    model: ModelConfig
    augment: AugmentConfig
    train: TrainConfig
    seed: int

    def __post_init__(self) -> None:
        check(0 <= self.seed < 2**32, "seed", self.seed, "be 0 to 2^32-1")
