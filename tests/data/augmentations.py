"""Augmentations and images that several tests of augmentation share."""

from __future__ import annotations

import numpy as np

from xray_hpc.config.run_config import AugmentConfig

NONE = AugmentConfig()
EVERYTHING = AugmentConfig(
    rotation=40,
    zoom=0.3,
    shear=20,
    height_shift=0.2,
    width_shift=0.1,
    horizontal_flip=True,
    rot90=True,
    crop=True,
    brightness=0.3,
)
IMAGES = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 1)).astype(np.uint8)
