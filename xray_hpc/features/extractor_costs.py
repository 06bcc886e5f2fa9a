"""The feature extractor of each backbone, from a measured table, without TensorFlow."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.registry import MODELS

TABLE_FILE = Path(__file__).parent / "extractors.json"
"""Written by ``python -m xray_hpc.features.measure_extractor_costs``; part of the package."""

REFERENCE_SIDE = 224
"""The image side in pixels for which the table was measured."""


@dataclass(frozen=True)
class FeatureExtractor:
    """The frozen part of a model, whose outputs are the features of an image.

    Attributes:
        unfreeze: the largest ``model.unfreeze`` that leaves this part frozen.
        side: the side of its feature maps for images of ``REFERENCE_SIDE``; 0 for vectors.
        channels: the number of channels of its feature maps, or the length of its vectors.
        share: its share of the multiplications of the model's forward pass.
    """

    unfreeze: int
    side: int
    channels: int
    share: float

    def feature_size(self, image_side: int) -> int:
        """Return the number of features of one image."""
        side = math.ceil(image_side * self.side / REFERENCE_SIDE)
        return self.channels * max(side, 1) ** 2


def feature_extractor(config: ModelConfig) -> FeatureExtractor | None:
    """Return the feature extractor of a resolved model; None if all its layers are trained."""
    if not MODELS[config.name].uses & {"backbone", "backbones"}:
        return None
    tables = [extractor_table()[name] for name in config.backbone_weights]
    if len(tables) > 1:  # in parallel, all frozen
        parts = [table[0] for table in tables]
        channels = sum(part.channels for part in parts)
        return FeatureExtractor(0, 0, channels, min(part.share for part in parts))
    unfreeze = config.unfreeze or 0
    return next((part for part in tables[0] if unfreeze <= part.unfreeze), None)


@functools.cache
def extractor_table() -> dict[str, list[FeatureExtractor]]:
    """Return the feature extractors of each backbone, by increasing ``unfreeze``."""
    content = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
    return {name: [FeatureExtractor(*row) for row in rows] for name, rows in content.items()}
