"""Saving what was trained: the same files, byte for byte, for the same run."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import keras

from xray_hpc.config.run_config import RunConfig
from xray_hpc.data.dataset import Dataset
from xray_hpc.metrics import decision_threshold
from xray_hpc.models.build_model import build_model
from xray_hpc.models.custom_layers import GlobalBatchDropout
from xray_hpc.models.layer_graph import flat_layers
from xray_hpc.models.model_card import ZIP_EPOCH, ModelCard, add_card
from xray_hpc.models.model_diagram import draw_model
from xray_hpc.models.model_summary import model_summary
from xray_hpc.models.resolve_model import resolve_model
from xray_hpc.records.atomic_files import atomic_write, write_text
from xray_hpc.records.paths import RunPaths
from xray_hpc.training import run_figures


class BestWeightsWriter:
    """``checkpoints/epoch-NNNN.weights.h5``: the weights of each epoch that was the best so far.

    They fit ``model.keras``, on however many replicas they were found: they are those of ``model``
    in plain layers. Those of an earlier attempt at the run are removed first, from the epoch
    ``first`` on that this one begins with.
    """

    def __init__(
        self, paths: RunPaths, config: RunConfig, data: Dataset, model: keras.Model, first: int
    ) -> None:
        self.paths = paths
        self.model = model
        self.plain = plain_keras_model(model, config, len(data.classes))
        kept = {paths.epoch_weights(epoch) for epoch in range(first)}
        for path in paths.weights_folder.glob("*"):  # half-written ones too
            if path not in kept:
                path.unlink()

    def __call__(self, epoch: int) -> None:
        copy_weights(self.model, self.plain)
        with atomic_write(self.paths.epoch_weights(epoch)) as temporary:
            self.plain.save_weights(temporary)


def plain_keras_model(model: keras.Model, config: RunConfig, classes: int) -> keras.Model:
    """``model``, or one like it of plain Keras layers where it was built for several replicas."""
    replicated = any(
        isinstance(layer, GlobalBatchDropout) or getattr(layer, "synchronized", False)
        for layer in flat_layers(model)
    )
    return build_plain_model(config, classes) if replicated else model


def copy_weights(model: keras.Model, to: keras.Model) -> None:
    """Give ``to`` the weights of ``model``, unless they are the same."""
    if to is not model:
        to.set_weights(model.get_weights())


def build_plain_model(config: RunConfig, classes: int) -> keras.Model:
    """The run's model with random weights, of plain Keras layers alone."""
    return build_model(resolve_model(config.model)[0], config.data.input_shape, classes)


def export_model(model: keras.Model, config: RunConfig, data: Dataset, paths: RunPaths) -> None:
    """Write ``model.keras``, which takes raw pixels 0..255, and show it in words and a picture."""
    saved = plain_keras_model(model, config, len(data.classes))
    copy_weights(model, saved)
    write_text(paths.summary, model_summary(saved))
    run_figures.save(paths, "model", draw_model(saved))
    card = ModelCard(
        run=paths.name,
        model=config.model.name,
        classes=data.classes,
        threshold=decision_threshold(data.classes),
        image_size=config.data.image_size,
        crop=config.data.crop,
        channels=config.data.channels,
        clahe=config.data.clahe,
    )
    save_model(paths.model, saved, card)


def save_model(path: Path, model: keras.Model, card: ModelCard) -> None:
    """Write ``model`` and its card as a Keras archive."""
    with atomic_write(path) as temporary:
        model.save(temporary)
        _settle(temporary)
        add_card(temporary, card)


def _settle(archive: Path) -> None:
    """Take out of a Keras archive what differs from one save to the next of the same model.

    These are the time of saving, and the memory addresses by which it numbers shared objects.
    """
    with (
        atomic_write(archive) as settled,
        zipfile.ZipFile(archive) as source,
        zipfile.ZipFile(settled, "w") as target,
    ):
        for name in source.namelist():
            with (
                source.open(name) as given,
                target.open(zipfile.ZipInfo(name, ZIP_EPOCH), "w", force_zip64=True) as kept,
            ):
                if name.endswith(".json"):
                    kept.write(_settled_json(given.read()))
                else:
                    shutil.copyfileobj(given, kept)


def _settled_json(text: bytes) -> bytes:
    numbers: dict[Any, int] = {}

    def settle_object(value: dict[str, Any]) -> dict[str, Any]:
        value.pop("date_saved", None)
        if "shared_object_id" in value:
            address = value["shared_object_id"]
            value["shared_object_id"] = numbers.setdefault(address, len(numbers))
        return value

    return json.dumps(json.loads(text, object_hook=settle_object)).encode()
