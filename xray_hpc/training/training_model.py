"""The model of a run, ready to be trained: whole, or its trainable head on cached features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from xray_hpc.config.run_config import RunConfig, TrainConfig
from xray_hpc.data.dataset import Dataset
from xray_hpc.features.cut import find_cut, trainable_head
from xray_hpc.features.store import features, load
from xray_hpc.metrics import Floats, probabilities
from xray_hpc.models.build_model import build_model
from xray_hpc.models.registry import check, output, resolve, weights_files
from xray_hpc.training.feed import Feed, Images, Outputs
from xray_hpc.training.predictor import Predictor


@dataclass(frozen=True)
class Learner:
    """A model and what it is fed.

    ``trained`` is the part of ``whole`` that is trained, compiled; they share their weights.
    """

    whole: keras.Model
    trained: keras.Model
    feed: Feed
    data: Dataset
    _predictors: dict[str, Predictor] = field(default_factory=dict, init=False, repr=False)

    def predict(self, split: str, between: Callable[[], None] = lambda: None) -> Floats:
        """Scores ``[N, K]`` of the images of a split, in one pass.

        ``between`` is called after each batch.
        """
        if split not in self._predictors:
            batches, rows = self.feed.evaluation(split), len(self.data.splits[split])
            self._predictors[split] = Predictor(self.trained, batches, rows)
        return probabilities(self._predictors[split](between))


def make_learner(
    config: RunConfig,
    data: Dataset,
    strategy: tf.distribute.Strategy,
    cache: Path,
    told: Callable[[int], None] = lambda done: None,
) -> Learner:
    """Build the model under ``strategy``, and compute or read the features that it caches.

    ``told``: see ``features.load``.

    Raises:
        UserError: the model does not fit the images, or the cache cannot hold the cached features.
    """
    model = build(config, len(data.classes), strategy)
    with strategy.scope():  # a model of its own, so that the whole one is saved uncompiled
        trained = keras.Model(model.input, model.output, name=model.name)
    feed: Feed = Images(config, data)
    if config.train.features not in ("auto", "off") and isinstance(config.augment.views, int):
        place = find_cut(model)
        assert place is not None, (
            "a plan keeps the outputs of feature extractors only where there is one"
        )
        with strategy.scope():
            wanted, trained = (
                features(config, data, model, place, cache),
                trainable_head(model, place),
            )
        (arrays,) = load([wanted], config, data, model, strategy, told)
        feed = Outputs(config, data, arrays)
    with strategy.scope():
        _compile(trained, config, len(data.classes))
    return Learner(model, trained, feed, data)


def build(config: RunConfig, classes: int, strategy: tf.distribute.Strategy) -> keras.Model:
    """The model with the weights that its training starts from.

    Raises:
        UserError: it does not fit the images.
    """
    check(config, classes)
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.train.precision)
    settled, _ = resolve(config.model)
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        return build_model(
            settled, config.data.input_shape, classes, weights_files(settled), replicas=replicas
        )


def _compile(model: keras.Model, config: RunConfig, classes: int) -> None:
    """Give the model its optimizer, loss and training accuracy.

    Weights of images, where there are any, count in the loss and not in the accuracy.
    """
    if output(config.model, classes) == "sigmoid":
        loss, accuracy = "binary_crossentropy", keras.metrics.BinaryAccuracy(name="accuracy")
    else:
        loss = "categorical_crossentropy"
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    model.compile(optimizer=make_optimizer(config.train), loss=loss, metrics=[accuracy])
    model.optimizer.build(model.trainable_variables)


def make_optimizer(config: TrainConfig) -> keras.optimizers.Optimizer:
    """The optimizer by its Keras name, with the configured learning rate."""
    kinds = {
        "adam": keras.optimizers.Adam,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }
    return kinds[config.optimizer](learning_rate=config.learning_rate)
