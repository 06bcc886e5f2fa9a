"""The training section of a run's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from xray_hpc.config.dataclass_conversion import check, check_least

Monitor = Literal["val_loss", "val_accuracy", "val_auc"]

NEUTRAL_KEYS = ("checkpoint", "explain", "tensorboard")
"""The keys of ``train`` that change no result and are not part of a run's identity."""


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """Settings of ``keras.callbacks.EarlyStopping``; null: always train all epochs.

    Attributes:
        monitor: Metric that must improve.
        patience (epochs): Epochs without an improvement before training stops.
        min_delta: Smallest change that counts as an improvement.
    """

    monitor: Monitor = "val_loss"
    patience: int = 5
    min_delta: float = 1e-7

    def __post_init__(self) -> None:
        check_least(0, "train.early_stopping.patience", self.patience)
        check_least(0, "train.early_stopping.min_delta", self.min_delta)


@dataclass(frozen=True)
class ReduceLROnPlateauConfig:
    """Settings of ``keras.callbacks.ReduceLROnPlateau``; null: keep the learning rate.

    Attributes:
        monitor: Metric that must improve.
        factor: Factor by which the learning rate is multiplied.
        patience (epochs): Epochs without an improvement before the learning rate is reduced.
        min_delta: Smallest change that counts as an improvement.
        cooldown (epochs): Epochs after a reduction in which none is counted.
        min_lr: Lower bound of the learning rate.
    """

    monitor: Monitor = "val_loss"
    factor: float = 0.2
    patience: int = 2
    min_delta: float = 1e-7
    cooldown: int = 0
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        check(0 < self.factor < 1, "train.reduce_lr.factor", self.factor, "lie between 0 and 1")
        for key in ("patience", "min_delta", "cooldown", "min_lr"):
            check_least(0, f"train.reduce_lr.{key}", getattr(self, key))


@dataclass(frozen=True)
class CheckpointConfig:
    """When training writes a checkpoint: by steps or by time, whichever comes first.

    Checkpoints do not change the result and are not part of a run's identity. One is also written
    on a signal and after the last epoch.

    Attributes:
        steps (batches): Batches between two checkpoints; unset: by time only.
        seconds (s): Time between two checkpoints; null: by steps only.
    """

    steps: int | None = None
    seconds: float | None = 60.0

    def __post_init__(self) -> None:
        check_least(1, "train.checkpoint.steps", self.steps)
        check_least(0, "train.checkpoint.seconds", self.seconds)


@dataclass(frozen=True, kw_only=True)
class _TrainKeys:
    """The training.

    Attributes:
        epochs (epochs): Most epochs to train.
        batch_size (images): Global batch, over all GPUs.
        learning_rate: Initial learning rate; unset: the model's entry in ``learning_rates``.
        optimizer: Keras optimizer.
        precision: Keras dtype policy; the mixed ones compute in 16 bits and keep weights and
            output in float32.
        balance: What to do about classes of different size: ``class_weights`` weighs an image by
            N / (classes x images of its class) in the loss; ``sampling`` draws every class equally
            often.
        keep: Metric that selects the epoch whose weights are used; ``last``: the last epoch.
        save_best: Also write the best weights so far to ``checkpoints/``.
        early_stopping: When to stop early; null: never.
        reduce_lr: When to reduce the learning rate; null: never.
        checkpoint: When to write a checkpoint.
        explain: After training, draw the worst misses of the validation and test images with their
            Grad-CAM. The pictures show patients; false: none. Not part of a run's identity.
        tensorboard: Also write the metrics as event files of TensorBoard; not part of a run's
            identity. Needs ``tensorboard`` installed.
    """

    epochs: int = 50
    batch_size: int = 32
    learning_rate: float
    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    balance: Literal["none", "class_weights", "sampling"] = "none"
    keep: Literal["val_loss", "val_accuracy", "val_auc", "last"] = "val_loss"
    save_best: bool = False
    early_stopping: EarlyStoppingConfig | None = field(default_factory=EarlyStoppingConfig)
    reduce_lr: ReduceLROnPlateauConfig | None = field(default_factory=ReduceLROnPlateauConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    explain: bool = True
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check_least(1, "train.epochs", self.epochs)
        check_least(1, "train.batch_size", self.batch_size)
        rate = self.learning_rate
        check(rate > 0, "train.learning_rate", rate, "be more than 0")


@dataclass(frozen=True, kw_only=True)
class TrainSettings(_TrainKeys):
    """The training, as the user gives it.

    Attributes:
        learning_rates: Learning rate of each model, used where ``learning_rate`` is unset.
        features: Whether the outputs of the frozen layers are computed once and cached, and as
            which type: ``float32``, ``float16``, ``off``; ``auto``: if that saves half of the work,
            vectors in float32, maps (``ft``) in float16, which may change the AUC by 0.001.
    """

    learning_rates: dict[str, Any] = field(default_factory=dict)
    features: Literal["auto", "float32", "float16", "off"] = "auto"

    def resolve(self, features: Literal["float32", "float16", "off"]) -> TrainConfig:
        """Return the configuration with a data type of cached features."""
        values = vars(self) | {"features": features}
        del values["learning_rates"]
        return TrainConfig(**values)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(_TrainKeys):
    """The training, resolved."""

    features: Literal["float32", "float16", "off"] = "off"
