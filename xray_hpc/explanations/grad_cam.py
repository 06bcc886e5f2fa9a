"""Grad-CAM: where in an image the features lie that speak for a class.

Selvaraju et al., "Grad-CAM: Visual explanations from deep networks via gradient-based
localization", ICCV 2017.
"""

from __future__ import annotations

from typing import Any

import cv2
import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.explanations.feature_maps import SplitModel, split_at_maps
from xray_hpc.metrics import Labels
from xray_hpc.models.layer_graph import LOGITS, logits_tensor

Heatmaps = npt.NDArray[np.float32]
BATCH_PIXELS = 2**19  # 10 images of 224 x 224: the activations fit into any memory


class GradCam:
    """Compute heatmaps of a model, which needs no other input than images.

    Args:
        model: one of this package's models, or any functional or sequential Keras model with
            convolutions. The gradient is that of its layer ``LOGITS``, before the activation, or
            of its outputs if it has none.

    Raises:
        DataError: the model has no convolution.
    """

    def __init__(self, model: keras.Model) -> None:
        named = any(layer.name == LOGITS for layer in model.layers)
        self.input_side: int = model.inputs[0].shape[1]
        self._parts = split_at_maps(model, logits_tensor(model) if named else model.outputs[0])

    def __call__(self, images: npt.NDArray[Any], classes: Labels) -> Heatmaps:
        """Return the heatmap of a class for each image.

        Per feature map ``A_k`` of Z positions, ``w_k = mean of dy / dA_k`` over the positions, for
        the output ``y`` of the class. The heatmap is ``ReLU(sum_k w_k A_k)``, scaled to a maximum
        of 1 and to the size of the image. A model of two classes with one output ``x`` has
        ``y = x`` for the second class and ``-x`` for the first.

        The maps of several branches are added before the ReLU, each times its Z, at the size of
        the largest. If the branches are averaged over their positions, as ours are, this is
        Grad-CAM on their concatenation: each counts as much as it contributes to ``y``.

        Args:
            images: raw pixels ``[N, H, W, C]``, as the model takes them.
            classes: N positions in the model's classes.

        Returns:
            ``[N, H, W]`` in 0..1; all 0 where nothing in the image speaks for the class.
        """
        rows = max(1, BATCH_PIXELS // (images.shape[1] * images.shape[2]))
        parts = [
            _batch_heatmaps(self._parts, images[at : at + rows], classes[at : at + rows])
            for at in range(0, len(images), rows)
        ]
        return np.concatenate(parts) if parts else np.zeros(images.shape[:3], np.float32)


def _batch_heatmaps(parts: SplitModel, images: npt.NDArray[Any], classes: Labels) -> Heatmaps:
    # Not compiled: for a few images tracing the graph takes longer than computing.
    pixels = tf.convert_to_tensor(images.astype(np.float32))
    maps = keras.tree.flatten(parts.extractor([pixels], training=False))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(maps)
        outputs = parts.head(maps, training=False)
        # The outputs of an image depend on this image only, so the sum has each one's gradient.
        target = tf.reduce_sum(outputs * _class_signs(outputs.shape[1], classes))
    gradients = tape.gradient(target, maps, unconnected_gradients="zero")
    branches = [
        _weighted_sum(a.numpy().astype(np.float32), g.numpy().astype(np.float32))
        for a, g in zip(maps, gradients, strict=True)
    ]
    height, width = max(branch.shape[1:] for branch in branches)
    return np.stack(
        [
            _normalized(
                sum(_resized(branch[row], height, width) for branch in branches), images.shape[1:3]
            )
            for row in range(len(images))
        ]
    )


def _class_signs(units: int, classes: Labels) -> npt.NDArray[np.float32]:
    """Return ``[N, units]``, which selects each image's class among the outputs."""
    labels = np.asarray(classes, np.int64)
    if units == 1:
        return np.where(labels == 1, 1, -1).astype(np.float32)[:, None]
    return np.eye(units, dtype=np.float32)[labels]


def _weighted_sum(maps: Heatmaps, gradients: Heatmaps) -> Heatmaps:
    """Return ``Z sum_k w_k A_k`` ``[N, h, w]`` for feature maps and gradients ``[N, h, w, F]``.

    A gradient or an activation that is not finite, as of an overflow in 16 bits, counts as 0.
    """
    weights = np.nan_to_num(gradients, posinf=0, neginf=0).sum(axis=(1, 2))
    maps = np.nan_to_num(maps, posinf=0, neginf=0)
    return np.asarray(np.einsum("nhwf,nf->nhw", maps, weights), np.float32)


def _normalized(heat: Any, size: tuple[int, ...]) -> Heatmaps:
    """Return ``ReLU(heat)`` at the size of the image, with a maximum of 1 unless it is 0."""
    resized = _resized(np.maximum(heat, 0), *size)
    normalized: Heatmaps = resized / (resized.max() or 1)
    return normalized


def _resized(heat: Heatmaps, height: int, width: int) -> Heatmaps:
    if heat.shape == (height, width):
        return heat
    resized = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)
