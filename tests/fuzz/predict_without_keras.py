"""The command ``predict`` with a stand-in for Keras, and a model file with a card but no model."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
import types
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.fuzz.forked_command import Outcome, run_command
from tests.fuzz.verdict import Verdict
from xray_hpc.models import keras_archive
from xray_hpc.models.model_card import ModelCard

CARD = ModelCard("cnn-1a2b3c4d", "cnn", ("NORMAL", "PNEUMONIA"), 0.5, 16, 1.0, 1, None)
FILE = "model.keras"


def write_model(path: Path, card: bytes | None = None, method: int = zipfile.ZIP_STORED) -> None:
    """Write a model file that holds a card only."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(keras_archive.CARD, json.dumps(asdict(CARD)) if card is None else card)


def predict(folder: Path, *arguments: str | Path) -> Outcome:
    """Run ``predict FOLDER/model.keras ARGUMENTS``, whose score is the mean of the pixels."""
    return run_command(
        "predict",
        FILE,
        *map(str, arguments),
        "--overwrite",
        folder=folder,
        patch=lambda: use_stand_in(_mean),
    )


def use_stand_in(score: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float64]]) -> None:
    """Replace in this process what ``predict`` takes from Keras and TensorFlow."""
    import xray_hpc.predict

    loader = types.ModuleType("xray_hpc.models.load_scorer")
    loader.load_scorer = lambda file, card: score  # type: ignore[attr-defined]
    strategy = types.ModuleType("xray_hpc.training.strategy")
    strategy.enable_memory_growth = lambda: None  # type: ignore[attr-defined]
    sys.modules |= {loader.__name__: loader, strategy.__name__: strategy}
    xray_hpc.predict.isolated_keras = contextlib.nullcontext  # type: ignore[attr-defined,assignment]


def _mean(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    logit = images.mean(axis=(1, 2, 3)) / 64 - 2
    return np.stack([-logit, logit], axis=1)


def rows(folder: Path) -> list[Mapping[str, str]]:
    """Return the rows of ``predictions.csv``; none if there is no such file."""
    file = folder / "predictions.csv"
    if not file.exists():
        return []
    text = file.read_bytes().decode(errors="surrogateescape")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def check_rows(verdict: Verdict, outcome: Outcome, found: list[Mapping[str, str]]) -> None:
    """Check that each row has either a score or an error, and that the exit code says so."""
    for row in found:
        if bool(row["label"]) == bool(row["error"]):
            verdict.wrong(f"a row has the label {row['label']!r} and the error {row['error']!r}")
        if row["label"] and not np.isfinite(float(row["logit"] or "nan")):
            verdict.wrong(f"a label with the logit {row['logit']!r}")
    if outcome.code in (0, 1) and (outcome.code == 1) != any(row["error"] for row in found):
        verdict.wrong(f"exit code {outcome.code} for the errors {[r['error'] for r in found]}")
