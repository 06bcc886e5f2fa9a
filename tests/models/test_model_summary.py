from __future__ import annotations

import keras

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.build_model import build_model
from xray_hpc.models.model_summary import model_summary


def fine_tuned() -> keras.Model:
    config = ModelConfig(
        "ft", "demo", "none", 7, head_units=8, head_dropout=0.1, preprocessing="backbone"
    )
    return build_model(config, (64, 64, 1), 2)


def stacked() -> keras.Model:
    config = ModelConfig(
        "stacked", backbones={"demo": "none", "mobilenet_v2": "none"}, preprocessing="backbone"
    )
    return build_model(config, (64, 64, 1), 2)


def test_model_summary_is_deterministic() -> None:
    assert model_summary(stacked()) == model_summary(stacked())


def test_model_summary_has_one_line_per_layer() -> None:
    assert (
        model_summary(build_model(ModelConfig("lung", output="softmax"), (512, 512, 1), 3))
        == """\
lung: 82,923 weights, 82,923 of them trained

layer          kind          output         weights  trained
image          InputLayer    512 x 512 x 1
preprocessing  Rescaling     512 x 512 x 1
conv1          Conv2D        508 x 508 x 4      104      104
pool1          MaxPooling2D  169 x 169 x 4
conv2          Conv2D        167 x 167 x 4      148      148
pool2          MaxPooling2D  83 x 83 x 4
flatten        Flatten       27556
logits         Dense         3               82,671   82,671
score          Activation    3
"""
    )


def test_model_summary_lists_the_layers_of_a_backbone() -> None:
    lines = model_summary(fine_tuned()).splitlines()
    assert len([line for line in lines if line.startswith("  ")]) == 25
    (frozen,) = [line for line in lines if line.startswith("  stage2_block_conv ")]
    (trained,) = [line for line in lines if line.startswith("  stage3_block_conv ")]
    assert frozen.split()[-2:] == ["36,864", "0"]
    assert trained.split()[-2:] == ["147,456", "147,456"]
