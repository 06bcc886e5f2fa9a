"""A model prepared for training: the full model on images, or its head on cached features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.config.run_config import RunConfig
from xray_hpc.config.train_config import TrainConfig
from xray_hpc.data.dataset import Dataset
from xray_hpc.features.feature_store import cached_features, load_or_compute
from xray_hpc.features.forward_pass import FeatureSource
from xray_hpc.features.model_cut import find_cut, trainable_head
from xray_hpc.metrics import Floats, class_logits
from xray_hpc.models.build_model import build_run_model
from xray_hpc.models.layer_graph import logits_tensor
from xray_hpc.training.feed import FeatureFeed, Feed, ImageFeed
from xray_hpc.training.strategy import gpu_names, next_batch


class Predictor:
    """Compute the outputs of ``model`` for fixed batches, with its current weights.

    ``Model.predict`` creates two iterators over the batches on every call, which takes most of the
    time on a small split; here a single iterator repeats the batches.

    Args:
        model: the model.
        batches: full batches; the last one may be padded.
        rows: number of rows without the padding.
    """

    def __init__(self, model: keras.Model, batches: tf.data.Dataset, rows: int) -> None:
        strategy = model.distribute_strategy
        self._rows = rows
        self._steps = int(batches.cardinality())
        self._iterator = iter(batches.repeat())

        def step(iterator: Iterator[Any]) -> tuple[tf.Tensor, ...]:
            batch = next_batch(iterator, strategy)
            outputs = strategy.run(lambda batch: model(batch, training=False), (batch,))
            parts: tuple[tf.Tensor, ...] = strategy.experimental_local_results(outputs)
            return parts

        self._step = tf.function(step)

    def __call__(self, after_batch: Callable[[], None] = lambda: None) -> npt.NDArray[Any]:
        """Return the outputs ``[rows, ...]``; call ``after_batch`` after each batch."""
        outputs: list[tf.Tensor] = []
        for _ in range(self._steps):
            outputs += self.predict_batch()
            after_batch()
        return np.concatenate([output.numpy() for output in outputs])[: self._rows]

    def predict_batch(self) -> tuple[tf.Tensor, ...]:
        """Return the outputs of the next batch, one tensor per replica."""
        parts: tuple[tf.Tensor, ...] = self._step(self._iterator)
        return parts


@dataclass(frozen=True)
class TrainingModel:
    """A model and its input.

    Attributes:
        full_model: the model that takes images; it is saved, and not compiled.
        trained_model: the compiled part that is trained, which shares its weights: all of it, or
            the trainable head on cached features. Its outputs are logits.
        feed: the batches that ``trained_model`` takes.
        data: the data set.
    """

    full_model: keras.Model
    trained_model: keras.Model
    feed: Feed
    data: Dataset
    _predictors: dict[str, Predictor] = field(default_factory=dict, init=False, repr=False)

    def predict(self, split: str, after_batch: Callable[[], None] = lambda: None) -> Floats:
        """Return the logits ``[N, K]`` of the images of a split.

        ``after_batch`` is called after each batch.
        """
        if split not in self._predictors:
            batches, rows = self.feed.evaluation(split), len(self.data.splits[split])
            self._predictors[split] = Predictor(self.trained_model, batches, rows)
        return class_logits(self._predictors[split](after_batch))


def make_training_model(
    config: RunConfig,
    data: Dataset,
    strategy: tf.distribute.Strategy,
    cache: Path,
    on_progress: Callable[[int], None] = lambda blocks: None,
) -> TrainingModel:
    """Build and compile the model, and compute its cached features if it uses them.

    ``cache`` is the folder of cached features; for ``on_progress`` see ``load_or_compute``.

    Raises:
        UserError: the model does not fit the images, or the cache cannot hold the features.
    """
    model = build_run_model(config, len(data.classes), strategy)
    with strategy.scope():  # a second Model object, so that the saved one is not compiled
        trained = keras.Model(model.input, logits_tensor(model), name=model.name)
    feed: Feed = ImageFeed(config, data)
    if config.train.features != "off":
        cut = find_cut(model)
        assert cut is not None, "the plan uses cached features only where a model has a cut"
        with strategy.scope():
            source = FeatureSource(config, data, model, strategy)
            file = cached_features(source, cut, cache, gpu_names())
            trained = trainable_head(trained, cut)
        (arrays,) = load_or_compute([file], source, on_progress)
        feed = FeatureFeed(config, data, arrays)
    with strategy.scope():
        _compile(trained, config, len(data.classes))
    return TrainingModel(model, trained, feed, data)


def _compile(model: keras.Model, config: RunConfig, classes: int) -> None:
    """Compile the model with its optimizer, loss and training accuracy.

    Image weights, where there are any, apply to the loss and not to the accuracy.
    """
    if config.model.output == "sigmoid":
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        accuracy = keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)
    else:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    model.compile(optimizer=make_optimizer(config.train), loss=loss, metrics=[accuracy])
    model.optimizer.build(model.trainable_variables)


def make_optimizer(config: TrainConfig) -> keras.optimizers.Optimizer:
    """Return the configured Keras optimizer."""
    optimizers = {
        "adam": keras.optimizers.Adam,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }
    return optimizers[config.optimizer](learning_rate=config.learning_rate)
