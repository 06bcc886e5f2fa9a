"""The graph that is read from private attributes equals the public one of ``get_config``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.build_backbone import build_backbone
from xray_hpc.models.build_model import build_model
from xray_hpc.models.layer_graph import flat_layers, input_names, input_tensor, output_tensor

SHAPE = (32, 32, 1)


def model(name: str) -> keras.Model:
    if name == "backbone":
        return build_backbone("demo", SHAPE, None)
    head = {"head_units": 8, "head_dropout": 0.1}
    return build_model(
        ModelConfig("ft", "demo", "none", 1, preprocessing="backbone", **head), SHAPE, 2
    )


def histories(value: Any) -> Iterator[str]:
    """Yield the names of the layers whose tensors a saved call takes."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]["keras_history"][0]
        else:
            yield from histories(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from histories(item)


@pytest.mark.parametrize("name", ["backbone", "model"])
def test_input_names_are_those_of_the_saved_configuration(name: str) -> None:
    built = model(name)
    saved = {item["name"]: item["inbound_nodes"] for item in built.get_config()["layers"]}
    found = {layer.name: input_names(layer) for layer in built.layers}
    assert found == {name: list(dict.fromkeys(histories(nodes))) for name, nodes in saved.items()}
    assert any(len(names) > 1 for names in found.values()) == (name == "backbone")


def test_output_tensor_of_a_layer_is_the_input_tensor_of_the_next() -> None:
    built = model("model")
    assert input_tensor(built.get_layer("pool")) is output_tensor(built.get_layer("demo_backbone"))
    assert (
        input_tensor(built.get_layer("demo_backbone")) is not built.get_layer("demo_backbone").input
    )


def test_model_between_input_and_output_tensor_is_the_layer() -> None:
    built = model("model")
    hidden = built.get_layer("hidden")
    alone = keras.Model(input_tensor(hidden), output_tensor(hidden))
    values = np.random.default_rng(0).normal(size=(2, 128)).astype(np.float32)
    np.testing.assert_array_equal(alone(values), hidden(values))


def test_flat_layers_replaces_nested_models_by_their_layers() -> None:
    names = [layer.name for layer in flat_layers(model("model"))]
    inner = [layer.name for layer in model("backbone").layers]
    assert "demo_backbone" not in names
    assert names.index("pool") == names.index(inner[-1]) + 1
    assert [name for name in names if name in inner[1:]] == inner[1:]
