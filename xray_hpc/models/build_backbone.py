"""Build the backbones of ``registry.BACKBONES`` as Keras models."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras

from xray_hpc.errors import DataError
from xray_hpc.models.keras_archive import check_weights
from xray_hpc.regular_file import open_regular
from xray_hpc.synthetic.demo_backbone import demo_backbone
from xray_hpc.system_errors import describe_system_error

APPLICATIONS = {
    "densenet121": keras.applications.DenseNet121,
    "densenet169": keras.applications.DenseNet169,
    "densenet201": keras.applications.DenseNet201,
    "mobilenet_v2": keras.applications.MobileNetV2,
    "resnet50v2": keras.applications.ResNet50V2,
    "resnet101v2": keras.applications.ResNet101V2,
    "resnet152v2": keras.applications.ResNet152V2,
}


def build_backbone(
    name: str, input_shape: tuple[int, int, int], weights: Path | None
) -> keras.Model:
    """Build a backbone without its classification layers; without a file, with random weights.

    Returns:
        A model from images ``[N, H, W, C]``, scaled as ``BackboneSpec.scaling`` says, to feature
        maps ``[N, h, w, F]``.

    Raises:
        DataError: the file does not hold the weights of this backbone.
    """
    if name == "demo":
        backbone = demo_backbone(input_shape, None)
    else:
        backbone = APPLICATIONS[name](include_top=False, weights=None, input_shape=input_shape)
        backbone.name = name
    if weights is not None:
        try:
            with warnings.catch_warnings():
                # Keras only warns about layers that the file has no weights for.
                warnings.simplefilter("error", UserWarning)
                with open_regular(weights) as file:
                    check_weights(file)
                backbone.load_weights(weights)
        except Exception as error:  # h5py and Keras raise all kinds of errors for wrong files
            if describe_system_error(error):
                raise
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{weights} does not hold the weights of {name} ({reason})") from error
    return backbone


def freeze(backbone: keras.Model, unfreeze: int) -> None:
    """Make the last ``unfreeze`` layers of ``backbone`` trainable and freeze the others."""
    first = len(backbone.layers) - unfreeze
    for index, layer in enumerate(backbone.layers):
        layer.trainable = index >= first
