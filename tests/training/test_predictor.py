"""The predictor equals ``Model.predict`` on the same batches."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from xray_hpc.training.strategy import make_strategy
from xray_hpc.training.training_model import Predictor

ROWS = np.random.default_rng(3).normal(size=(12, 5)).astype(np.float32)
BATCHES = tf.data.Dataset.from_tensor_slices(ROWS).batch(4)


@pytest.fixture(params=[["CPU:0"], ["CPU:0", "CPU:1"]], ids=["one replica", "two replicas"])
def model(request: pytest.FixtureRequest) -> keras.Model:
    with make_strategy(request.param).scope():
        layers = [
            keras.Input((5,)),
            keras.layers.Dense(3, activation="softmax"),
            keras.layers.Dropout(0.5),
        ]
        return keras.Sequential(layers)


def test_predictor_equals_keras_predict(model: keras.Model) -> None:
    expected = model.predict(BATCHES, verbose=0)
    np.testing.assert_allclose(Predictor(model, BATCHES, 12)(), expected, rtol=1e-6)


def test_predictor_drops_the_padding(model: keras.Model) -> None:
    assert Predictor(model, BATCHES, 10)().shape == (10, 3)


def test_predictor_follows_the_weights(model: keras.Model) -> None:
    predict = Predictor(model, BATCHES, 12)
    first = predict()
    np.testing.assert_array_equal(predict(), first)
    model.set_weights([np.zeros_like(value) for value in model.get_weights()])
    np.testing.assert_allclose(predict(), 1 / 3)


def test_predictor_calls_after_batch(model: keras.Model) -> None:
    calls: list[int] = []
    Predictor(model, BATCHES, 12)(after_batch=lambda: calls.append(1))
    assert len(calls) == 3
