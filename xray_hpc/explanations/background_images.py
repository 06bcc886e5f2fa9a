"""The images that SHAP compares with: validation images of the run, or the user's own."""

from __future__ import annotations

import numpy as np

from xray_hpc.data.augmentation_parameters import center_crop
from xray_hpc.data.dataset import load_dataset
from xray_hpc.errors import DataError
from xray_hpc.explanations.explain_request import ExplainRequest
from xray_hpc.prediction.predict_images import Pixels, read_image
from xray_hpc.records.frozen_run import read_frozen_run
from xray_hpc.records.paths import RunPaths

MOST = 50
"""How many images are used: evenly spaced in their order, so that all classes are among them."""


def load_background(request: ExplainRequest) -> Pixels:
    """Return raw pixels ``[M, S, S, C]`` of at most ``MOST`` images, as the model takes them.

    Raises:
        UserError: the images of the run cannot be read, or none of the user's.
    """
    if request.background:
        chosen = [request.background[at] for at in _spread(len(request.background))]
        read = [file.error or read_image(file.path, request.card) for file in chosen]
        images = [image for image in read if not isinstance(image, str)]
        if not images:
            raise DataError(f"no image of --background can be read; {chosen[0].path}: {read[0]}")
        return np.stack(images)
    assert request.run is not None, "checked with the request"
    run = read_frozen_run(RunPaths(request.run))
    data = load_dataset(run.config.data, run.cache)
    rows = data.splits["validation"]
    return center_crop(data.images[rows[_spread(len(rows))]], run.config.data.input_size)


def _spread(count: int) -> list[int]:
    """Return at most ``MOST`` evenly spaced positions in ``count`` images."""
    used = min(count, MOST)
    return [at * count // used for at in range(used)]
