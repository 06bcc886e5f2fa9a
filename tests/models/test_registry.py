"""The tables of the registry against the networks themselves."""

from __future__ import annotations

import inspect

import pytest

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.build_backbone import build_backbone
from xray_hpc.models.build_model import build_model
from xray_hpc.models.registry import BACKBONES, MODELS


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_spec_has_the_layers_and_parameters_of_the_network(name: str) -> None:
    spec = BACKBONES[name]
    backbone = build_backbone(name, (spec.minimum, spec.minimum, spec.channels), None)
    assert len(backbone.layers) == spec.layers
    assert backbone.count_params() == spec.parameters


SCRATCH = [name for name, spec in MODELS.items() if not spec.uses]


@pytest.mark.parametrize("name", SCRATCH)
def test_minimum_is_the_smallest_side_that_a_model_can_be_built_for(name: str) -> None:
    side = MODELS[name].minimum
    build_model(ModelConfig(name), (side, side, 1), 2)
    with pytest.raises(ValueError, match=r"negative|less than|zero|size"):
        build_model(ModelConfig(name), (side - 1, side - 1, 1), 2)


@pytest.mark.parametrize("name", MODELS)
def test_build_features_has_the_parameters_of_every_builder(name: str) -> None:
    parameters = inspect.signature(MODELS[name].load_builder()).parameters
    assert list(parameters) == ["config", "x", "weights", "dropout"]
