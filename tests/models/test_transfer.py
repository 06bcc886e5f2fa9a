from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.errors import DataError
from xray_hpc.models.build_backbone import build_backbone, freeze
from xray_hpc.models.build_model import build_model

SHAPE = (32, 32, 1)


def transfer(unfreeze: int | None = None, **fields: object) -> keras.Model:
    name = "tl" if unfreeze is None else "ft"
    config = ModelConfig(
        name,
        "demo",
        "none",
        unfreeze,
        head_units=8,
        head_dropout=0.1,
        preprocessing="backbone",
        **fields,
    )
    return build_model(config, SHAPE, 2)


def test_transfer_learning_trains_only_the_head() -> None:
    model = transfer()
    trained = [variable.path.split("/")[0] for variable in model.trainable_variables]
    assert trained == ["hidden", "hidden", "logits", "logits"]


@pytest.mark.parametrize("depth", [1, 4, 13, 25])
def test_fine_tuning_trains_only_the_last_layers(depth: int) -> None:
    backbone = transfer(depth).get_layer("demo_backbone")
    assert [layer.trainable for layer in backbone.layers] == [False] * (25 - depth) + [True] * depth


def test_freeze_leaves_the_tutorials_13_layers_of_resnet152v2_trainable() -> None:
    backbone = build_backbone("resnet152v2", (32, 32, 3), None)
    freeze(backbone, 13)
    assert [layer.name for layer in backbone.layers if layer.trainable] == [
        "conv5_block3_preact_bn",
        "conv5_block3_preact_relu",
        "conv5_block3_1_conv",
        "conv5_block3_1_bn",
        "conv5_block3_1_relu",
        "conv5_block3_2_pad",
        "conv5_block3_2_conv",
        "conv5_block3_2_bn",
        "conv5_block3_2_relu",
        "conv5_block3_3_conv",
        "conv5_block3_out",
        "post_bn",
        "post_relu",
    ]
    assert sum(int(np.prod(v.shape)) for v in backbone.trainable_variables) == 4_468_736


def test_frozen_batch_normalization_keeps_its_statistics() -> None:
    model = transfer()
    model.compile("adam", "binary_crossentropy")
    before = [v.numpy() for v in model.get_layer("demo_backbone").variables]
    model.fit(np.random.default_rng(0).uniform(0, 255, (8, *SHAPE)), np.ones((8, 1)), verbose=0)
    after = [v.numpy() for v in model.get_layer("demo_backbone").variables]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_build_backbone_rejects_weights_of_another_network(tmp_path: Path) -> None:
    file = tmp_path / "other.weights.h5"
    keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)]).save_weights(file)
    with pytest.raises(DataError, match=r"other\.weights\.h5 .* demo"):
        build_backbone("demo", SHAPE, file)


def test_build_backbone_loads_the_weights_of_a_file(tmp_path: Path) -> None:
    """The file has the format of keras.applications: HDF5, layer by layer."""
    file = tmp_path / "mobilenet.weights.h5"
    saved = build_backbone("mobilenet_v2", (32, 32, 3), None)
    saved.save_weights(file)
    loaded = build_backbone("mobilenet_v2", (32, 32, 3), file)
    for one, two in zip(saved.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
