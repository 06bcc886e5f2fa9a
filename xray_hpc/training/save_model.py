"""Save the trained model: the same run gives the same files, byte for byte."""

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
from xray_hpc.records.atomic_files import atomic_write, write_text
from xray_hpc.records.paths import RunPaths
from xray_hpc.shared_folder import make_subfolder
from xray_hpc.training import run_figures


class BestWeightsWriter:
    """Save ``checkpoints/epoch-NNNN.weights.h5``: the weights of each best epoch so far.

    The files fit ``model.keras``, whatever the number of replicas: they hold the weights of
    ``model`` in plain Keras layers. Files of an earlier attempt are removed, except those of the
    ``completed`` epochs, after which this attempt starts.
    """

    def __init__(
        self, paths: RunPaths, config: RunConfig, data: Dataset, model: keras.Model, completed: int
    ) -> None:
        self.paths = paths
        self.model = model
        self.plain = plain_keras_model(model, config, len(data.classes))
        retained = {paths.epoch_weights(epoch) for epoch in range(1, completed + 1)}
        for path in paths.weights_folder.glob("*"):  # including temporary files
            if path not in retained:
                path.unlink()

    def __call__(self, epoch: int) -> None:
        """Save the weights; ``epoch`` counts from 0."""
        copy_weights(self.model, self.plain)
        make_subfolder(self.paths.weights_folder)
        with atomic_write(self.paths.epoch_weights(epoch + 1)) as temporary:
            self.plain.save_weights(temporary)


def plain_keras_model(model: keras.Model, config: RunConfig, classes: int) -> keras.Model:
    """Return ``model``, or an equal model of plain Keras layers if it was built for replicas."""
    replicated = any(
        isinstance(layer, GlobalBatchDropout) or getattr(layer, "synchronized", False)
        for layer in flat_layers(model)
    )
    return build_model(config.model, config.data.input_shape, classes) if replicated else model


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of ``source`` to ``target``, unless they are the same model."""
    if target is not source:
        target.set_weights(source.get_weights())


def export_model(
    model: keras.Model, config: RunConfig, data: Dataset, paths: RunPaths
) -> keras.Model:
    """Write ``model.keras``, which takes raw pixels 0..255, its summary and its diagram.

    Returns:
        The saved model, built for one device.
    """
    saved = plain_keras_model(model, config, len(data.classes))
    copy_weights(model, saved)
    write_text(paths.summary, model_summary(saved))
    run_figures.write(paths, "model", draw_model, saved)
    card = ModelCard(
        run=paths.name,
        model=config.model.name,
        classes=data.classes,
        threshold=decision_threshold(data.classes),
        image_size=config.data.image_size,
        crop=config.data.crop,
        channels=config.data.channels,
        clahe=config.data.clahe,
        range=data.range,
    )
    save_model(paths.model, saved, card)
    return saved


def save_model(path: Path, model: keras.Model, card: ModelCard) -> None:
    """Write ``model`` and its card as a Keras archive."""
    with atomic_write(path) as temporary:
        model.save(temporary)
        _normalize_archive(temporary)
        add_card(temporary, card)


def _normalize_archive(archive: Path) -> None:
    """Remove what differs between two saves of the same model from a Keras archive.

    This is the time of saving, and the memory addresses that identify shared objects.
    """
    with (
        atomic_write(archive) as normalized,
        zipfile.ZipFile(archive) as source,
        zipfile.ZipFile(normalized, "w") as target,
    ):
        for name in source.namelist():
            with (
                source.open(name) as member,
                target.open(zipfile.ZipInfo(name, ZIP_EPOCH), "w", force_zip64=True) as output,
            ):
                if name.endswith(".json"):
                    output.write(_normalize_json(member.read()))
                else:
                    shutil.copyfileobj(member, output)


def _normalize_json(text: bytes) -> bytes:
    numbers: dict[Any, int] = {}

    def normalize_object(value: dict[str, Any]) -> dict[str, Any]:
        value.pop("date_saved", None)
        if "shared_object_id" in value:
            address = value["shared_object_id"]
            value["shared_object_id"] = numbers.setdefault(address, len(numbers))
        return value

    return json.dumps(json.loads(text, object_hook=normalize_object)).encode()
