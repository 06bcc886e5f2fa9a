"""A request for predictions, checked before TensorFlow is loaded."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.count_text import format_count
from xray_hpc.data.folder_index import missing_part
from xray_hpc.data.index_entry import IgnoredFiles, ignored_line
from xray_hpc.data.named_images import ImageFile, find_image_files, read_list
from xray_hpc.errors import ConfigError, DataError, StorageError, UserError
from xray_hpc.models.model_card import ModelCard, read_card
from xray_hpc.prediction.prediction_csv import STDOUT
from xray_hpc.printable import printable
from xray_hpc.records.atomic_files import storage_errors
from xray_hpc.records.file_state import find_change
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Failure, Status, read_record

MAX_RUNS_NAMED = 8


@dataclass(frozen=True)
class PredictionRequest:
    """What to predict, with which model, and to which CSV file (``-``: standard output).

    ``threshold`` is the score above which the second of two classes is predicted; None predicts
    the class with the highest score. ``ignored`` are files and links in folders, by reason.
    """

    keras_file: Path
    card: ModelCard
    threshold: float | None
    files: Sequence[ImageFile]
    ignored: Mapping[str, IgnoredFiles]
    output: str

    def describe(self) -> str:
        """Return one line about the request, and another if files are ignored."""
        classes = self.card.classes
        if self.threshold is None:
            rule = f"label: the highest score of {', '.join(classes)}"
        else:
            rule = f"label: {classes[1]} if its score exceeds {self.threshold:g}"
        line = f"{self.card.run}: {format_count(len(self.files), 'image')}; {rule}"
        lines = [line, f"ignored {ignored_line(self.ignored)}"] if self.ignored else [line]
        return "\n".join(map(printable, lines))


def check_request(
    model: Path,
    images: Sequence[str],
    output: str,
    threshold: float | None,
    stdin: bytes = b"",
    *,
    overwrite: bool = False,
) -> PredictionRequest:
    """Find the model and the images, and check that the output can be written.

    Args:
        model: a run folder or a saved model.
        images: files, folders, and ``-`` for the paths in ``stdin``.
        output: the CSV file, or ``-`` for standard output.
        threshold: replaces the threshold of the model card.
        overwrite: replace an existing CSV file.

    Raises:
        UserError: the model does not exist, there are no images, or an argument is invalid.
    """
    keras_file = find_model(model)
    card = read_card(keras_file)
    threshold = _check_threshold(threshold, card)
    if output != STDOUT:
        _check_output(Path(output), overwrite)
    files, ignored = find_image_files(images, read_list(stdin))
    return PredictionRequest(keras_file, card, threshold, files, ignored, output)


def find_model(path: Path) -> Path:
    """Return the saved model at ``path``, a file or the folder of a finished run."""
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return path
        run = RunPaths(path)
        record = read_record(run)
    except FileNotFoundError:
        raise ConfigError(f"{path}: {missing_part(path)}") from None
    except OSError as error:
        raise StorageError(f"cannot read {error.filename}: {error.strerror}") from error
    if record is None:
        raise ConfigError(_no_run_message(path))
    if record.status is not Status.FINISHED:
        cancelled = Failure.CANCELLED.value
        state = cancelled if record.failure == cancelled else record.status.value
        raise ConfigError(f"the run {path} is {state}; only finished runs have a model")
    if not run.model.is_file():
        raise ConfigError(f"{run.model.name} is missing in the run {path}; train it again")
    with storage_errors(path):
        change = find_change(str(run.model), record.files.get(run.model.name), whole=True)
    if change is not None:
        fix = "launch the sweep again to train the run anew"
        raise DataError(f"{run.model} {change} in run.json; {fix}")
    return run.model


def _no_run_message(folder: Path) -> str:
    """Return the message for a folder that is not a run; it names finished runs inside it.

    The folder may be ``runs/``, a sweep, or a folder of sweeps.
    """
    inside = [path for depth in ("*", "runs/*", "*/runs/*") for path in sorted(folder.glob(depth))]
    finished = [str(path) for path in inside if _is_finished(path)]
    if not finished:
        return f"{folder} is not the folder of a run and contains no finished run"
    more = ", ..." if len(finished) > MAX_RUNS_NAMED else ""
    names = ", ".join(finished[:MAX_RUNS_NAMED]) + more
    return f"{folder} is not the folder of a run; give one of its finished runs: {names}"


def _is_finished(folder: Path) -> bool:
    try:
        record = read_record(RunPaths(folder))
    except (UserError, OSError):
        return False
    return record is not None and record.status is Status.FINISHED


def _check_threshold(threshold: float | None, card: ModelCard) -> float | None:
    if threshold is None:
        return card.threshold
    if len(card.classes) > 2:
        raise ConfigError(
            f"--threshold needs two classes; {card.run} has {len(card.classes)} and predicts the "
            "one with the highest score"
        )
    if not 0 <= threshold <= 1:
        raise ConfigError(f"--threshold is {threshold:g}; it must be between 0 and 1")
    return threshold


def _check_output(path: Path, overwrite: bool) -> None:
    # The suffix is checked so that a typing error does not overwrite an image or a model.
    if path.suffix.lower() != ".csv":
        raise ConfigError(f"--output is {path}; it must end in .csv, or be - for standard output")
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"--output is {path}, which exists and is not a file")
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise ConfigError(f"--output is {path}: {error.strerror}") from error
    else:
        if not overwrite:
            raise ConfigError(
                f"{path} exists; replace it with --overwrite, or name another with -o"
            )
    if not path.parent.is_dir():
        raise ConfigError(f"--output is {path}: {missing_part(path.parent)}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"--output is {path}: no write permission in its folder")
