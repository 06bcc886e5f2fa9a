"""Layers whose results do not depend on the number of devices."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

BATCH_NORM_MOMENTUM = 0.9
"""Momentum of BatchNormalization layers that are trained from scratch: about the last 10 batches.

With Keras's default of 0.99 the moving statistics lag hundreds of batches behind the weights. In
the first epochs the model then labels every validation image positive, and early stopping selects
one of those epochs.
"""


class GlobalBatchDropout(keras.layers.Dropout):
    """Dropout that draws its mask for the global batch and applies this replica's part of it.

    Keras's own layer draws the same mask on every replica of a ``MirroredStrategy``. Here each
    image gets the mask that it would get on a single device, so the number of replicas does not
    change the result. Inputs are the ``[N, ...]`` of one replica; N must be equal on all replicas.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        replica = tf.distribute.get_replica_context()
        if not training or self.rate == 0 or replica is None:
            return inputs
        size = tf.shape(inputs)[0]
        shape = tf.concat([[size * replica.num_replicas_in_sync], tf.shape(inputs)[1:]], axis=0)
        ones = tf.ones(shape, inputs.dtype)
        mask = keras.random.dropout(ones, self.rate, seed=self.seed_generator)
        first = replica.replica_id_in_sync_group * size
        return inputs * mask[first : first + size]
