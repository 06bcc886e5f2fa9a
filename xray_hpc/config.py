"""A run's configuration as typed values, checked where they are made.

Hydra composes YAML (hydra_app.py); :func:`build` turns the plain mapping into these frozen
dataclasses once, and nothing behind it sees a ``DictConfig``. A value of the wrong type or out of
range, an unknown key, or a key that is missing raises ``UserError`` naming the key.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from xray_hpc.errors import UserError, nearest, one_of

T = TypeVar("T")

# libyaml's where PyYAML was built with it: several times as fast.
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class DataConfig:
    """Which images, how they are packed, and how they are split.

    ``image_size`` is the side of the square in pixels; ``channels`` is 1 (grey) or 3 (RGB).
    ``split`` says where the validation images come from: ``patient`` (grouped by patient and
    stratified by class), ``random`` (as Keras's ``image_dataset_from_directory`` draws them) or
    ``folder`` (the tree's own ``val/``, or the CSV's own split column).
    """

    source: Literal["demo", "folder", "csv"]
    root: str | None
    image_size: int
    channels: Literal[1, 3]
    split: Literal["patient", "random", "folder"]
    validation_fraction: float
    split_seed: int
    demo_images: int | None = None
    demo_seed: int | None = None

    def __post_init__(self) -> None:
        check(self.source == "demo" or bool(self.root), "data.root", self.root, "name a path")
        check(8 <= self.image_size <= 4096, "data.image_size", self.image_size, "be 8 to 4096")
        check(
            0 < self.validation_fraction < 1,
            "data.validation_fraction",
            self.validation_fraction,
            "lie between 0 and 1",
        )
        check(0 <= self.split_seed < 2**32, "data.split_seed", self.split_seed, "be 0 to 2^32-1")
        if self.source == "demo":
            images = self.demo_images or 0
            check(40 <= images <= 100_000, "data.demo_images", images, "be 40 to 100000")
            seed = -1 if self.demo_seed is None else self.demo_seed
            check(0 <= seed < 2**32, "data.demo_seed", self.demo_seed, "be 0 to 2^32-1")


@dataclass(frozen=True)
class ModelConfig:
    """Which network. A key that the model does not use is ``None`` (see models.registry).

    ``weights`` is ``imagenet`` or ``demo`` (whichever the backbone was published with), ``none``
    or the path of a weights file. ``unfreeze`` counts the backbone's last layers that train.
    """

    name: str
    backbone: str | None = None
    weights: str | None = None
    unfreeze: int | None = None
    preprocessing: Literal["auto", "unit"] = "auto"
    head_units: int | None = None
    head_dropout: float | None = None

    def __post_init__(self) -> None:
        if self.unfreeze is not None:
            check(self.unfreeze >= 1, "model.unfreeze", self.unfreeze, "be 1 or more")
        if self.head_units is not None:
            check(self.head_units >= 1, "model.head_units", self.head_units, "be 1 or more")
        if self.head_dropout is not None:
            rate = self.head_dropout
            check(0 <= rate < 1, "model.head_dropout", rate, "be at least 0 and below 1")


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training images, drawn anew each epoch.

    ``zoom`` is the largest relative change of size (0.1: 90 % to 110 %, height and width drawn
    separately); shifts are fractions of the height and width. What comes in from outside is
    filled by ``fill_mode``.
    """

    zoom: float = 0.0
    height_shift: float = 0.0
    width_shift: float = 0.0
    fill_mode: Literal["reflect", "nearest", "constant", "wrap"] = "reflect"

    def __post_init__(self) -> None:
        for key in ("zoom", "height_shift", "width_shift"):
            value = getattr(self, key)
            check(0 <= value < 1, f"augment.{key}", value, "be at least 0 and below 1")

    @property
    def identity(self) -> bool:
        """Whether every image stays as it is."""
        return self.zoom == self.height_shift == self.width_shift == 0


Monitor = Literal["val_loss", "val_accuracy"]


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """``keras.callbacks.EarlyStopping``: stop after ``patience`` epochs without a gain."""

    monitor: Monitor = "val_loss"
    patience: int = 5
    min_delta: float = 1e-7
    restore_best_weights: bool = True

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
class TrainConfig:
    """How the weights are found. ``batch_size`` is the global batch, over all replicas."""

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    mixed_precision: bool = False
    early_stopping: EarlyStoppingConfig | None = field(default_factory=EarlyStoppingConfig)
    reduce_lr: ReduceLROnPlateauConfig | None = field(default_factory=ReduceLROnPlateauConfig)

    def __post_init__(self) -> None:
        check(self.epochs >= 1, "train.epochs", self.epochs, "be 1 or more")
        check(self.batch_size >= 1, "train.batch_size", self.batch_size, "be 1 or more")
        rate = self.learning_rate
        check(rate > 0 and math.isfinite(rate), "train.learning_rate", rate, "be more than 0")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result, and nothing else."""

    data: DataConfig
    model: ModelConfig
    augment: AugmentConfig
    train: TrainConfig
    seed: int

    def __post_init__(self) -> None:
        check(0 <= self.seed < 2**32, "seed", self.seed, "be 0 to 2^32-1")


@dataclass(frozen=True)
class CpuJobConfig:
    """What a stage or collect job asks for: no GPU; ``partition`` may differ from the runs'."""

    partition: str | None = None
    time: str | int = 60
    cpus: int = 2
    mem: str | None = "8G"

    def __post_init__(self) -> None:
        minutes(self.time, "cluster.cpu_job.time")
        check(self.cpus >= 1, "cluster.cpu_job.cpus", self.cpus, "be 1 or more")
        check_memory(self.mem, "cluster.cpu_job.mem")


@dataclass(frozen=True)
class ClusterConfig:
    """Where runs run; none of it changes their results.

    ``kind``: ``local`` (processes on this machine), ``slurm``, ``auto`` (Slurm where there is
    ``sbatch``) or ``none`` (make the run folders, run nothing). ``time`` is minutes, or a text as
    Slurm takes it; ``mem`` a text as Slurm takes it; ``gpus`` counts per run. ``parallel`` limits
    how many runs go at once (local: 1 where it is null; Slurm: all).
    """

    kind: Literal["auto", "local", "slurm", "none"]
    parallel: int | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: str | int = 240
    gpus: int = 1
    cpus: int = 4
    mem: str | None = "16G"
    extra: dict[str, Any] | None = None
    setup: tuple[str, ...] = ()
    container: str | None = None
    python: str | None = None
    cpu_job: CpuJobConfig = field(default_factory=CpuJobConfig)

    def __post_init__(self) -> None:
        if self.parallel is not None:
            check(self.parallel >= 1, "cluster.parallel", self.parallel, "be 1 or more")
        minutes(self.time, "cluster.time")
        check(self.gpus >= 0, "cluster.gpus", self.gpus, "be 0 or more")
        check(self.cpus >= 1, "cluster.cpus", self.cpus, "be 1 or more")
        check_memory(self.mem, "cluster.mem")


def minutes(time: str | int, key: str) -> int:
    """A time limit in whole minutes, rounded up.

    Takes Slurm's forms: minutes, ``MM:SS``, ``HH:MM:SS``, ``D-HH``, ``D-HH:MM``, ``D-HH:MM:SS``.

    Raises:
        UserError: it has none of them, or is no time at all.
    """
    text = str(time)
    matched = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    check(matched is not None, key, text, "be minutes, HH:MM:SS or D-HH:MM:SS")
    assert matched is not None
    days, *parts = (None if part is None else int(part) for part in matched.groups())
    values = [part for part in parts if part is not None]
    if days is not None:
        hours, mins, seconds = [*values, 0, 0][:3]
    elif len(values) == 3:
        hours, mins, seconds = values
    else:
        hours, (mins, seconds) = 0, [*values, 0][:2]
    total = ((days or 0) * 24 + hours) * 60 + mins + -(-seconds // 60)
    check(total >= 1, key, text, "be a minute or more")
    return total


def check_memory(memory: str | None, key: str) -> None:
    """Raise ``UserError`` unless ``memory`` is a size as Slurm takes it, such as ``16G``."""
    fits = memory is None or re.fullmatch(r"[1-9]\d*([KMGT]B?)?", memory) is not None
    check(fits, key, memory, "be a size such as 500M or 16G")


def check(holds: bool, key: str, value: object, must: str) -> None:
    """Raise ``UserError`` "``key`` is ``value``; it must ..." unless ``holds``."""
    if not holds:
        shown = "not set" if value is None else value
        raise UserError(f"{key} is {shown}; it must {must}")


def build(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Make the dataclass ``kind`` of a plain mapping, strictly.

    Integers are taken for floats, and lists for tuples; nothing else is converted. ``where`` is
    the dotted key of the mapping, for messages.

    Raises:
        UserError: an unknown or missing key, a value of the wrong type or out of range.
    """
    hints = _hints(typing.cast(Hashable, kind))
    fields = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in fields:
            known = ", ".join(fields)
            raise UserError(f"{prefix}{key} is unknown{nearest(key, fields)} (valid: {known})")
    for key, item in fields.items():
        no_default = item.default is dataclasses.MISSING
        if key not in values and no_default and item.default_factory is dataclasses.MISSING:
            raise UserError(f"{prefix}{key} is missing; give it a value")
    return kind(**{key: _convert(hints[key], values[key], prefix + key) for key in values})


@functools.cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _convert(hint: Any, value: Any, key: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in typing.get_args(hint):
            return None
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        if type(value) in members:
            return value
        return _convert(members[0], value, key)
    if origin is Literal:
        choices = typing.get_args(hint)
        if (type(value), value) not in [(type(choice), choice) for choice in choices]:
            raise UserError(one_of(key, value, choices))
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise UserError(f"{key} is {value!r}; it must hold keys of its own")
        return build(typing.cast(type, hint), value, key)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{key} is {value!r}; it must be a list")
        inner = typing.get_args(hint)[0]
        return tuple(_convert(inner, item, f"{key}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{key} is {value!r}; it must hold keys of its own")
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        raise UserError(f"{key} is {value!r}; it must be {names[hint]}")
    return value


def as_dict(config: Any) -> dict[str, Any]:
    """The plain nested mapping that :func:`build` makes the same dataclass of."""
    return dataclasses.asdict(config)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping that :func:`to_yaml` wrote; ``UserError`` names the file otherwise."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} is not readable YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no mapping")
    return {str(key): value for key, value in values.items()}


def to_yaml(values: Mapping[str, Any]) -> str:
    """The text that :func:`read_yaml` reads the same mapping from."""
    return str(yaml.dump(dict(values), Dumper=DUMPER, sort_keys=False, allow_unicode=True))
