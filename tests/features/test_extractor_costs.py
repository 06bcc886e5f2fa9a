"""The table of feature extractors against the networks."""

from __future__ import annotations

from typing import Any

import pytest

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.features.extractor_costs import FeatureExtractor, extractor_table, feature_extractor
from xray_hpc.features.measure_extractor_costs import measure_extractors
from xray_hpc.models.registry import BACKBONES

HEAD: dict[str, Any] = {"head_units": 8, "head_dropout": 0.1}
STACKED = ModelConfig(
    "stacked", backbones={"demo": "none", "mobilenet_v2": "none"}, preprocessing="backbone"
)


@pytest.mark.parametrize("name", ["demo", "mobilenet_v2"])
def test_shipped_table_equals_a_new_measurement(name: str) -> None:
    assert [FeatureExtractor(*row) for row in measure_extractors(name)] == extractor_table()[name]


def test_table_has_every_backbone() -> None:
    assert extractor_table().keys() == BACKBONES.keys()


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_extractors_shrink_as_more_layers_are_trained(name: str) -> None:
    extractors = extractor_table()[name]
    assert [extractor.unfreeze for extractor in extractors] == sorted(
        {extractor.unfreeze for extractor in extractors}
    )
    shares = [extractor.share for extractor in extractors]
    assert shares == sorted(shares, reverse=True)
    assert 0 < shares[-1] < 0.1 < 0.99 < shares[0] <= 1
    assert extractors[-1].unfreeze < BACKBONES[name].layers
    assert [extractor.side == 0 for extractor in extractors] == [True] + [False] * (
        len(extractors) - 1
    )


@pytest.mark.parametrize(
    ("depth", "side", "channels"),
    [(1, 0, 2048), (2, 7, 2048), (13, 7, 2048), (24, 7, 2048), (36, 7, 1024), (48, 14, 1024)],
)
def test_feature_extractor_of_resnet152v2_at_the_tutorials_depths(
    depth: int, side: int, channels: int
) -> None:
    extractor = feature_extractor(
        ModelConfig("ft", "resnet152v2", "none", unfreeze=depth, preprocessing="backbone", **HEAD)
    )
    assert extractor is not None
    assert (extractor.side, extractor.channels) == (side, channels)
    assert extractor.share > 0.9


def test_feature_size_grows_with_the_image() -> None:
    extractor = feature_extractor(
        ModelConfig("ft", "resnet152v2", "none", unfreeze=13, preprocessing="backbone", **HEAD)
    )
    assert extractor is not None
    assert [extractor.feature_size(side) for side in (224, 225, 32)] == [49 * 2048, 64 * 2048, 2048]
    pooled = feature_extractor(
        ModelConfig("tl", "resnet152v2", "none", preprocessing="backbone", **HEAD)
    )
    assert pooled is not None
    assert [pooled.feature_size(side) for side in (224, 32)] == [2048, 2048]


def test_feature_extractor_of_stacked_backbones_concatenates_their_features() -> None:
    extractor = feature_extractor(STACKED)
    assert extractor is not None
    assert (extractor.side, extractor.channels, extractor.unfreeze) == (0, 128 + 1280, 0)


@pytest.mark.parametrize(
    "model",
    [
        ModelConfig("cnn"),
        ModelConfig("ft", "demo", "none", unfreeze=25, preprocessing="backbone", **HEAD),
    ],
)
def test_feature_extractor_is_none_if_the_first_layer_is_trained(model: ModelConfig) -> None:
    assert feature_extractor(model) is None
