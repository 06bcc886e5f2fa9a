from __future__ import annotations

import errno
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from xray_hpc.errors import DataError
from xray_hpc.metrics import class_scores
from xray_hpc.models.load_scorer import load_scorer
from xray_hpc.models.model_card import ModelCard

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)


def card(classes: Sequence[str]) -> ModelCard:
    return ModelCard("cnn-1a2b3c4d", "cnn", tuple(classes), None, 8, 1.0, 1, None)


def save(path: Path, units: int, activation: str) -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    features = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    logits = keras.layers.Dense(units, name="logits")(features)
    model = keras.Model(inputs, keras.layers.Activation(activation)(logits))
    model.save(path)
    return model


@pytest.mark.parametrize(
    ("units", "activation", "classes"),
    [(1, "sigmoid", "AB"), (2, "softmax", "AB"), (3, "softmax", "ABC")],
)
def test_scores_of_the_logits_are_probabilities_per_class(
    tmp_path: Path, units: int, activation: str, classes: str
) -> None:
    model = save(tmp_path / "model.keras", units, activation)
    scores = class_scores(load_scorer(tmp_path / "model.keras", card(classes))(IMAGES))
    assert scores.shape == (5, len(classes))
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(scores[:, -1], model.predict(IMAGES, verbose=0)[:, -1], atol=1e-6)


@pytest.mark.parametrize(("units", "activation"), [(1, "sigmoid"), (2, "softmax")])
def test_logits_of_a_saved_model_are_not_saturated(
    tmp_path: Path, units: int, activation: str
) -> None:
    model = save(tmp_path / "model.keras", units, activation)
    kernel, _ = model.get_layer("logits").get_weights()
    bias = np.eye(units)[-1] * 60
    model.get_layer("logits").set_weights([0.01 * kernel, bias])
    model.save(tmp_path / "model.keras")
    assert set(model.predict(IMAGES, verbose=0)[:, -1]) == {1.0}
    logits = load_scorer(tmp_path / "model.keras", card("AB"))(IMAGES)
    assert len(set(logits[:, 1])) == len(IMAGES)
    np.testing.assert_allclose(logits[:, 1], 60, atol=1)


@pytest.mark.parametrize(("units", "classes"), [(1, "ABC"), (3, "AB"), (2, "ABC")])
def test_load_scorer_rejects_a_model_that_does_not_match_its_card(
    tmp_path: Path, units: int, classes: str
) -> None:
    save(tmp_path / "model.keras", units, "sigmoid")
    with pytest.raises(DataError, match=rf"model\.keras .* to \({units},\), not"):
        load_scorer(tmp_path / "model.keras", card(classes))


def test_load_scorer_rejects_a_model_without_logits(tmp_path: Path) -> None:
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    with pytest.raises(DataError, match=r"model\.keras has no layer 'logits'"):
        load_scorer(tmp_path / "model.keras", card("AB"))


def test_load_scorer_names_a_damaged_file(tmp_path: Path) -> None:
    save(tmp_path / "whole.keras", 1, "sigmoid")
    with (
        zipfile.ZipFile(tmp_path / "whole.keras") as whole,
        zipfile.ZipFile(tmp_path / "model.keras", "w") as damaged,
    ):
        for name in whole.namelist():
            content = whole.read(name)
            damaged.writestr(name, content[:900] if name.endswith(".h5") else content)
    with pytest.raises(DataError, match=r"cannot load .*model\.keras"):
        load_scorer(tmp_path / "model.keras", card("AB"))


@pytest.mark.parametrize("problem", [MemoryError(), OSError(errno.EIO, "Input/output error")])
def test_load_scorer_blames_no_file_for_a_failure_of_the_machine(
    saved: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(keras.saving, "load_model", fail)
    with pytest.raises(type(problem)) as caught:
        load_scorer(saved, card("AB"))
    assert caught.value is problem


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Change the members of an archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(tmp_path / "model.keras", 1, "sigmoid")
    return tmp_path / "model.keras"


def with_layer(path: Path, **layer: Any) -> None:
    """Replace the flattening layer in the configuration of a saved model."""

    def change(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        (flatten,) = (one for one in config["config"]["layers"] if one["class_name"] == "Flatten")
        layer["config"] = {"name": flatten["name"], **layer["config"]}
        flatten.update(registered_name=None, **layer)
        members["config.json"] = json.dumps(config).encode()

    rewrite(path, change)


def touch(marker: Path) -> Any:
    """Return a serialized function that creates ``marker`` when Keras calls it."""
    path = str(marker)
    return keras.saving.serialize_keras_object(
        lambda x, path=path: (__import__("pathlib").Path(path).touch(), x)[1]
    )


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_load_scorer_runs_no_code_from_the_file(saved: Path, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    function = touch(marker)
    layers: list[dict[str, Any]] = [
        {"class_name": "Lambda", "config": {"function": function, "output_shape": [64]}},
        {"class_name": "Activation", "config": {"activation": function}},
        {"class_name": "TFSMLayer", "config": {"filepath": str(tmp_path)}},
        {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
    ]
    whole = saved.read_bytes()
    for layer in layers:
        saved.write_bytes(whole)
        with_layer(saved, module="keras.layers", **layer)
        with pytest.raises(DataError, match=str(saved)) as error:
            load_scorer(saved, card("AB"))
        assert "\n" not in str(error.value)
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["class", "function"])
@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "builtins.eval", "subprocess.Popen", "numpy.fromfile", "pickle.loads"),
        *("keras.utils.get_file", "keras.src.saving.saving_lib.load_model"),
        "xray_hpc.models.custom_layers.GlobalBatchDropout",
    ],
)
def test_load_scorer_imports_only_layers_of_keras(saved: Path, name: str, kind: str) -> None:
    module, _, class_name = name.rpartition(".")
    if kind == "class":
        with_layer(saved, class_name=class_name, module=module, config={})
    else:
        function = {"class_name": "function", "config": class_name, "module": module}
        with_layer(saved, class_name="Activation", config={"activation": function})
    with pytest.raises(DataError, match=str(saved)):
        load_scorer(saved, card("AB"))


@pytest.mark.parametrize(
    "config",
    [
        *(b"null", b"[1]", b'"x"', b"\xff", 100_000 * b"[", b'{"a":' * 900 + b"1" + b"}" * 900),
        b'{"class_name": "Dense", "config": {"units": 3}, "module": "keras.layers"}',
        b'{"class_name": "Mean", "config": {}, "module": "keras.metrics"}',
        b'{"class_name": "Sequential", "config": {"layers": []}, "module": "keras"}',
        None,
    ],
)
def test_load_scorer_rejects_a_configuration_of_no_model(saved: Path, config: bytes | None) -> None:
    def change(members: dict[str, bytes]) -> None:
        del members["config.json"]
        if config is not None:
            members["config.json"] = config

    rewrite(saved, change)
    with pytest.raises(DataError, match=str(saved)):
        load_scorer(saved, card("AB"))


KERNEL = "layers/dense/vars/0"


def other_shape(weights: h5py.File) -> None:
    del weights[KERNEL]
    weights[KERNEL] = np.ones((64, 100), np.float32)


def other_type(weights: h5py.File) -> None:
    del weights[KERNEL]
    weights[KERNEL] = np.array(64 * [b"x"]).reshape(64, 1)


def external_link(weights: h5py.File) -> None:
    path = Path(weights.filename).with_name("other.h5")
    with h5py.File(path, "w") as other:
        other["kernel"] = weights[KERNEL][()]
    del weights[KERNEL]
    weights[KERNEL] = h5py.ExternalLink(path, "/kernel")


def missing(weights: h5py.File) -> None:
    del weights[KERNEL]


@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize("change", [other_shape, other_type, external_link, missing])
def test_load_scorer_rejects_weights_that_are_not_the_models(
    saved: Path, tmp_path: Path, change: Callable[[h5py.File], None]
) -> None:
    def change_weights(members: dict[str, bytes]) -> None:
        file = tmp_path / "weights.h5"
        file.write_bytes(members["model.weights.h5"])
        with h5py.File(file, "a") as weights:
            change(weights)
        members["model.weights.h5"] = file.read_bytes()

    rewrite(saved, change_weights)
    with pytest.raises(DataError, match=str(saved)):
        load_scorer(saved, card("AB"))


def test_load_scorer_rejects_logits_of_another_shape(tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 1))
    logits = keras.layers.Dense(5, name="logits")(keras.layers.Flatten()(inputs))
    scores = keras.layers.Dense(2, activation="softmax")(logits)
    keras.Model(inputs, scores).save(tmp_path / "model.keras")
    with pytest.raises(DataError, match=r"^.*model\.keras .* \(None, 5\)"):
        load_scorer(tmp_path / "model.keras", card("AB"))


def test_model_that_fails_or_needs_too_much_memory_is_one_line(tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 1))
    large = keras.layers.UpSampling2D(2**17)(inputs)  # 4 TiB for an image
    features = keras.layers.GlobalAveragePooling2D()(large)
    logits = keras.layers.Dense(1, name="logits")(features)
    keras.Model(inputs, keras.layers.Activation("sigmoid")(logits)).save(tmp_path / "model.keras")
    score = load_scorer(tmp_path / "model.keras", card("AB"))
    with pytest.raises(DataError, match=r"model\.keras .* \(8, 8, 1\)"):
        score(IMAGES)
