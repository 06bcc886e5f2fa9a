"""Build the Keras model that a configuration describes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf
from keras import layers

from xray_hpc.config.run_config import ModelConfig, RunConfig
from xray_hpc.models.check_model_config import check_model
from xray_hpc.models.custom_layers import GlobalBatchDropout
from xray_hpc.models.layer_graph import LOGITS, flat_layers
from xray_hpc.models.registry import MODELS
from xray_hpc.models.weights_files import weights_files


def build_run_model(
    config: RunConfig, classes: int, strategy: tf.distribute.Strategy
) -> keras.Model:
    """Build the model of a run with its initial weights, seeded and in the run's precision.

    Raises:
        UserError: the model does not fit the images or the classes, or a weights file is missing
            or wrong.
    """
    check_model(config.model, config.data, classes)
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.train.precision)
    shape, weights = config.data.input_shape, weights_files(config.model)
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        return build_model(config.model, shape, classes, weights, replicas=replicas)


def build_model(
    config: ModelConfig,
    input_shape: tuple[int, int, int],
    classes: int,
    weights: Mapping[str, Path] | None = None,
    *,
    replicas: int = 1,
) -> keras.Model:
    """Build a model that includes its preprocessing.

    Args:
        config: the resolved and checked model configuration.
        input_shape: height, width, channels.
        weights: the weights files of its backbones; the others start from random weights.
        replicas: the number of devices. Dropout and BatchNormalization work on the global batch,
            so that the number does not change the result; for more than one, call this inside the
            strategy's scope.

    Returns:
        A model from raw pixels ``[N, H, W, C]`` in 0..255 to float32 probabilities: ``[N, 1]`` of
        the second of two classes if ``config.output`` is sigmoid, else ``[N, classes]``. The
        layer ``LOGITS`` gives them before the activation, where float32 does not saturate.
    """
    dropout = layers.Dropout if replicas == 1 else GlobalBatchDropout
    inputs = layers.Input(input_shape, name="image")
    features = MODELS[config.name].load_builder()(config, inputs, weights or {}, dropout)
    units = 1 if config.output == "sigmoid" else classes
    logits = layers.Dense(units, dtype="float32", name=LOGITS)(features)
    scores = layers.Activation(config.output, dtype="float32", name="score")(logits)
    model = keras.Model(inputs, scores, name=config.name)
    for layer in flat_layers(model):
        if isinstance(layer, layers.BatchNormalization):
            layer.synchronized = replicas > 1
    return model
