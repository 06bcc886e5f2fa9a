"""What the user asks for, checked before any work is done."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xray_hpc.data.image_files import (
    ImageFile,
    describe_ignored,
    describe_missing,
    find_image_files,
    read_list,
)
from xray_hpc.data.index_entry import IgnoredFiles
from xray_hpc.errors import ConfigError, StorageError, UserError
from xray_hpc.models.model_card import ModelCard, read_card
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Status, read_record
from xray_hpc.text import format_count

STDOUT = "-"
MOST_NAMED = 8


@dataclass(frozen=True)
class Request:
    """Which files to score with which model, and where to.

    ``threshold`` is what the score of the second of two classes must exceed to be called; with
    None the class with the highest score is. ``output`` is a CSV file's name or ``-``.
    """

    keras_file: Path
    card: ModelCard
    threshold: float | None
    found: Sequence[ImageFile]
    ignored: IgnoredFiles
    output: str

    def describe(self) -> str:
        """One line on what is about to be done, and one on files passed over, if any were."""
        classes = self.card.classes
        if self.threshold is None:
            rule = f"called what scores highest of {', '.join(classes)}"
        else:
            rule = f"called {classes[1]} where that scores above {self.threshold:g}"
        line = f"{self.card.run}: {format_count(len(self.found), 'image')}, {rule}"
        return line + describe_ignored(self.ignored, "\n")


def check_request(
    model: str, images: Sequence[str], output: str, threshold: float | None, listed: bytes = b""
) -> Request:
    """Find the model and the images, and check that the output can be written.

    Args:
        model: a run folder or a saved model.
        images: files, folders, and ``-`` for those that ``listed`` (the standard input) names.
        threshold: instead of the model's own.

    Raises:
        UserError: one of them is not what it should be.
    """
    keras_file = model_file(Path(model))
    card = read_card(keras_file)
    threshold = _threshold(threshold, card)
    if output != STDOUT:
        _check_output(Path(output))
    found, ignored = find_image_files(images, read_list(listed))
    return Request(keras_file, card, threshold, found, ignored, output)


def model_file(given: Path) -> Path:
    """The saved model that ``given`` stands for: itself, or that of a finished run.

    Raises:
        UserError: it is not there, or is another folder; the line says what to name instead.
    """
    try:
        if not stat.S_ISDIR(given.stat().st_mode):
            return given
        run = RunPaths(given)
        record = read_record(run)
    except FileNotFoundError:
        raise ConfigError(f"{given}: {describe_missing(str(given))}") from None
    except OSError as error:
        raise StorageError(f"cannot read {error.filename}: {error.strerror}") from error
    if record is None:
        raise ConfigError(_no_run(given))
    if record.status is not Status.FINISHED:
        raise ConfigError(f"the run {given} is {record.status.value}; it has a model when finished")
    if not run.model.is_file():
        raise ConfigError(f"the run {given} has lost its {run.model.name}; train it again")
    return run.model


def _no_run(folder: Path) -> str:
    """Name the runs in a folder that holds some: ``runs/``, a sweep, or a folder of sweeps."""
    inside = [path for depth in ("*", "runs/*", "*/runs/*") for path in sorted(folder.glob(depth))]
    finished = [str(path) for path in inside if _is_finished(path)]
    if not finished:
        return f"{folder} is not the folder of a run, and holds none that is finished"
    some = ", ".join(finished[:MOST_NAMED]) + (", ..." if len(finished) > MOST_NAMED else "")
    return f"{folder} is not the folder of a run; name one of the finished runs in it: {some}"


def _is_finished(folder: Path) -> bool:
    try:
        record = read_record(RunPaths(folder))
    except (UserError, OSError):
        return False
    return record is not None and record.status is Status.FINISHED


def _threshold(asked: float | None, card: ModelCard) -> float | None:
    if asked is None:
        return card.threshold
    if len(card.classes) > 2:
        raise ConfigError(
            f"--threshold is for two classes; {card.run} has {len(card.classes)} and calls the one "
            "with the highest score"
        )
    if not 0 <= asked <= 1:
        raise ConfigError(f"--threshold is {asked:g}; it must be 0 to 1")
    return asked


def _check_output(path: Path) -> None:
    # Held to its ending, so that no slip of the finger writes over an image or a model.
    if path.suffix.lower() != ".csv":
        raise ConfigError(f"--output is {path}; it must end in .csv, or be - for standard output")
    if path.exists() and not path.is_file():
        raise ConfigError(f"--output is {path}, which is there and is not a file; name another")
    if not path.parent.is_dir():
        raise ConfigError(f"--output is {path}: {describe_missing(str(path.parent))}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"--output is {path}: no permission to write there; name another folder")
