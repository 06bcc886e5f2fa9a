"""SHAP's GradientExplainer (expected gradients): which pixels raise the logit of a class.

Lundberg and Lee, "A unified approach to interpreting model predictions", NeurIPS 2017; Erion et
al., "Improving performance of deep learning models with axiomatic attribution priors and expected
gradients", Nature Machine Intelligence 2021. The package ``shap`` is an optional extra.
"""

from __future__ import annotations

import warnings
from typing import Any

import cv2
import keras
import numpy as np
import numpy.typing as npt

from xray_hpc.explanations.grad_cam import BATCH_PIXELS, Heatmaps
from xray_hpc.metrics import Labels
from xray_hpc.models.layer_graph import logits_tensor

SAMPLES = 200
"""Points between the image and background images at which the gradient is computed."""
SEED = 0
BLUR = 1 / 50  # of the image's side: the values of single pixels are noise


class ShapExplainer:
    """Compute heatmaps of SHAP values.

    Args:
        model: one of this package's models.
        background: raw pixels ``[M, H, W, C]`` of the images to compare with.
    """

    def __init__(self, model: keras.Model, background: npt.NDArray[np.uint8]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of shap's optional imports
            import shap

        # shap calls the model with a list of inputs.
        logits = keras.Model(model.inputs, logits_tensor(model))
        self._units: int = logits.outputs[0].shape[1]
        side = background.shape[1]
        self._explainer = shap.GradientExplainer(
            logits, background.astype(np.float32), batch_size=max(1, BATCH_PIXELS // side**2)
        )

    def __call__(self, images: npt.NDArray[Any], classes: Labels) -> Heatmaps:
        """Return the heatmap of a class for each image.

        It is the sum of the pixel's SHAP values over the channels, blurred, where it is positive,
        and scaled to a maximum of 1. The values of all pixels sum to the difference between the
        logit of the image and its mean over the background, up to the error of ``SAMPLES``.

        Args:
            images: raw pixels ``[N, H, W, C]``.
            classes: N positions in the model's classes.

        Returns:
            ``[N, H, W]`` in 0..1; all 0 where no pixel speaks for the class.
        """
        pairs = zip(images, classes, strict=True)
        return np.stack([_normalized(self._values(image, int(label))) for image, label in pairs])

    def _values(self, image: npt.NDArray[Any], label: int) -> npt.NDArray[np.float64]:
        """Return the SHAP values ``[H, W]`` of the class; the same for an image in any batch."""
        output = 0 if self._units == 1 else label
        values, _ = self._explainer.shap_values(
            image[None].astype(np.float32),
            nsamples=SAMPLES,
            ranked_outputs=np.array([[output]]),
            output_rank_order="custom",
            rseed=SEED,
        )
        sign = -1 if self._units == 1 and label == 0 else 1
        summed: npt.NDArray[np.float64] = np.asarray(values)[0, ..., 0].sum(axis=-1)
        return sign * summed


def _normalized(values: npt.NDArray[np.float64]) -> Heatmaps:
    blurred = cv2.GaussianBlur(values, (0, 0), max(BLUR * len(values), 0.5))
    heat = np.maximum(blurred, 0)
    return np.asarray(heat / (heat.max() or 1), np.float32)
