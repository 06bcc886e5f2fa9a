"""Layers that behave the same on one device and on several."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

MOMENTUM = 0.9
"""Of BatchNormalization where it trains from scratch: it averages over the last 10 batches or so.

With Keras's default of 0.99 its statistics lag hundreds of batches behind the weights: the first
epochs then call every image of the validation set positive, and early stopping keeps one of those.
"""


class GlobalBatchDropout(keras.layers.Dropout):
    """Dropout whose mask is drawn for the global batch and cut to this replica's part.

    Keras's own layer draws the same mask on every replica of a ``MirroredStrategy``. This one
    gives each image the mask that it would have had on a single device, so that the number of
    replicas does not change what is learnt. Inputs ``[N, ...]`` of one replica, where every
    replica holds the same number of images.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        replica = tf.distribute.get_replica_context()
        if not training or self.rate == 0 or replica is None:
            return inputs
        size = tf.shape(inputs)[0]
        shape = tf.concat([[size * replica.num_replicas_in_sync], tf.shape(inputs)[1:]], axis=0)
        mask = keras.random.dropout(
            tf.ones(shape, inputs.dtype), self.rate, seed=self.seed_generator
        )
        first = replica.replica_id_in_sync_group * size
        return inputs * mask[first : first + size]
