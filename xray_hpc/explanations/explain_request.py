"""A request for explanations, checked before TensorFlow is loaded."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xray_hpc.count_text import format_count
from xray_hpc.data.folder_index import missing_part
from xray_hpc.data.index_entry import IgnoredFiles, ignored_line
from xray_hpc.data.named_images import ImageFile, find_image_files, read_list
from xray_hpc.errors import ConfigError, one_of
from xray_hpc.models.model_card import ModelCard, read_card
from xray_hpc.prediction.prediction_request import find_model
from xray_hpc.printable import printable

Method = Literal["grad_cam", "shap"]
"""Grad-CAM, or SHAP's GradientExplainer."""
TABLE = "explanations.csv"


@dataclass(frozen=True)
class ExplainRequest:
    """What to explain, with which model and method, and into which folder.

    Attributes:
        keras_file: the saved model.
        run: its run folder, None if the request names a file.
        card: its model card.
        method: how to explain.
        label: the position of the class to explain; None explains the predicted class of each
            image.
        files: the images.
        ignored: files and links in folders, by reason.
        background: images that ``shap`` compares with; empty: validation images of the run.
        output: the folder of the table and the pictures.
    """

    keras_file: Path
    run: Path | None
    card: ModelCard
    method: Method
    label: int | None
    files: Sequence[ImageFile]
    ignored: Mapping[str, IgnoredFiles]
    background: Sequence[ImageFile]
    output: Path

    def describe(self) -> str:
        """Return one line about the request, and another if files are ignored."""
        classes = self.card.classes
        what = "the predicted class" if self.label is None else f"the class {classes[self.label]}"
        lines = [f"{self.card.run}: {format_count(len(self.files), 'image')}; explaining {what}"]
        lines += [f"ignored {ignored_line(self.ignored)}"] if self.ignored else []
        return "\n".join(map(printable, lines))


def check_request(
    model: Path,
    images: Sequence[str],
    output: Path,
    *,
    method: Method = "grad_cam",
    class_name: str | None = None,
    background: str | None = None,
    stdin: bytes = b"",
    overwrite: bool = False,
) -> ExplainRequest:
    """Find the model and the images, and check that the output can be written.

    Args:
        model: a run folder or a saved model.
        images: files, folders, and ``-`` for the paths in ``stdin``.
        output: the folder to write to, which is created.
        method: how to explain.
        class_name: the class to explain.
        background: a folder of images for ``shap``.
        stdin: the content of standard input.
        overwrite: replace existing explanations.

    Raises:
        UserError: the model does not exist, there are no images, or an argument is invalid.
    """
    run = model if model.is_dir() else None
    keras_file = find_model(model)
    card = read_card(keras_file)
    if class_name is not None and class_name not in card.classes:
        raise ConfigError(one_of("--class", class_name, card.classes))
    background_files = _check_background(method, run, background)
    _check_output(output, overwrite)
    files, ignored = find_image_files(images, read_list(stdin))
    label = None if class_name is None else card.classes.index(class_name)
    return ExplainRequest(
        keras_file, run, card, method, label, files, ignored, background_files, output
    )


def _check_background(
    method: Method, run: Path | None, background: str | None
) -> Sequence[ImageFile]:
    if method != "shap":
        if background is not None:
            raise ConfigError("--background needs --method shap; Grad-CAM compares with no images")
        return ()
    if importlib.util.find_spec("shap") is None:
        raise ConfigError("--method shap needs shap: pip install 'shap>=0.46'")
    if background is not None:
        return find_image_files([background])[0]
    if run is None:
        raise ConfigError(
            "--method shap compares with other images; give the run's folder instead of its "
            "model.keras, or images with --background FOLDER"
        )
    return ()


def _check_output(folder: Path, overwrite: bool) -> None:
    if os.path.lexists(folder) and not folder.is_dir():
        raise ConfigError(f"--output is {folder}, which exists and is not a folder")
    if os.path.lexists(folder / TABLE) and not overwrite:
        raise ConfigError(
            f"{folder / TABLE} exists; replace it with --overwrite, or name another folder with -o"
        )
    place = folder if folder.is_dir() else folder.parent
    if not place.is_dir():
        raise ConfigError(f"--output is {folder}: {missing_part(place)}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"--output is {folder}: no write permission in {place}")
