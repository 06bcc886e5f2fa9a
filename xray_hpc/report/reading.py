"""One run folder, read with suspicion: whatever is there is kept, whatever is wrong is named."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from xray_hpc.schema import read_yaml
from xray_hpc.errors import UserError
from xray_hpc.runs.files import read_json
from xray_hpc.runs.paths import SPLITS, RunPaths
from xray_hpc.runs.record import RunRecord, Status, read_record

ACCURACY = {"epoch": "int64", "train_accuracy": "float64", "val_accuracy": "float64"}
LOSS = {"epoch": "int64", "train_loss": "float64", "val_loss": "float64"}
SCORES = {"file": "str", "patient": "str", "y_true": "int64", "y_scores": "float64"}
ROC = {"fpr": "float64", "tpr": "float64", "thresholds": "float64"}

MEASURES = (
    *("accuracy", "auc", "sensitivity", "specificity"),
    *("false_negatives", "false_positives", "loss"),
)
COUNTS = ("images", "true_positives", "true_negatives")
WHOLE_RUN = (
    *("threshold", "best_epoch", "epochs", "parameters"),
    *("trainable_parameters", "seconds_per_epoch"),
)


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    ``status`` is the record's own, or ``missing`` (planned, but without a folder or a
    ``run.json``) or ``damaged`` (finished by its record, but files are absent or make no sense;
    or the record itself makes none). ``error`` says what is wrong, in one line. ``config`` is
    flat: dotted key to value. Tables that could not be read are absent.
    """

    name: str
    model: str
    status: str
    error: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    record: RunRecord | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    epochs: pd.DataFrame | None = None
    scores: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    roc: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.status == Status.FINISHED.value

    def measure(self, split: str, name: str) -> Any:
        """``metrics.json``'s number ``name`` of ``split``, or ``None``."""
        return self.metrics.get(split, {}).get(name)

    def without_scores(self) -> Run:
        """The same run, with its largest tables let go."""
        return dataclasses.replace(self, scores={})


def read_run(paths: RunPaths) -> Run:
    """Read everything a run folder holds; damage ends up in ``Run.error``, never in a crash."""
    model = paths.name.rpartition("-")[0] or paths.name
    try:
        record = read_record(paths)
        if record is None:
            what = "run.json" if paths.folder.is_dir() else "folder"
            return Run(paths.name, model, "missing", f"there is no {what}")
        _check_record(record, paths.name)
    except (UserError, OSError) as error:
        return Run(paths.name, model, "damaged", _reason(error, paths))
    return _Reader(paths, record).run()


class _Reader:
    """Reads the files that a record promises, and collects what is wrong with them."""

    def __init__(self, paths: RunPaths, record: RunRecord) -> None:
        self.paths = paths
        self.record = record
        self.finished = record.status is Status.FINISHED
        self.absent: list[str] = []
        self.wrong: list[str] = []

    def run(self) -> Run:
        paths, record = self.paths, self.record
        config = self.config()
        metrics = self.metrics()
        epochs = self.epochs(metrics)
        splits = {split: (self.scores(split, metrics), self.roc(split)) for split in SPLITS}
        error = self.error()
        damaged = self.finished and error is not None
        return Run(
            name=paths.name,
            model=record.model,
            status="damaged" if damaged else record.status.value,
            error=error,
            config=config,
            record=record,
            metrics=metrics,
            epochs=epochs,
            scores={split: scores for split, (scores, _) in splits.items() if scores is not None},
            roc={split: roc for split, (_, roc) in splits.items() if roc is not None},
        )

    def error(self) -> str | None:
        failure = self.record.error
        said = [f"{failure.get('type')}: {failure.get('message')}"] if failure else []
        if self.absent:
            said.append(", ".join(self.absent) + (" is" if len(self.absent) == 1 else " are"))
            said[-1] += " missing"
        return one_line("; ".join(said + self.wrong)) or None

    def config(self) -> dict[str, Any]:
        if not self.paths.config.exists():
            self.absent.append(self.paths.config.name)  # every run has one from its first moment
            return {}
        try:
            return flatten(read_yaml(self.paths.config))
        except UserError as error:
            self.wrong.append(_reason(error, self.paths))
            return {}

    def metrics(self) -> dict[str, Any]:
        try:
            value = read_json(self.paths.metrics)
        except FileNotFoundError:
            if self.finished:
                self.absent.append(self.paths.metrics.name)
            return {}
        except UserError:
            self.wrong.append("metrics.json holds no JSON object")
            return {}
        except OSError as error:
            self.wrong.append(_reason(error, self.paths))
            return {}
        expected = [(value, key, key) for key in WHOLE_RUN]
        for split in SPLITS:
            if not isinstance(value.get(split), dict):
                self.wrong.append(f"metrics.json has no {split}")
                return {}
            keys = (*MEASURES, *COUNTS)
            expected += [(value[split], key, f"{split}.{key}") for key in keys]
        for place, key, shown in expected:
            if key not in place:
                self.wrong.append(f"metrics.json has no {shown}")
                return {}
            if place[key] is not None and not _is_number(place[key]):
                self.wrong.append(f"metrics.json: {shown} is {place[key]!r}, not a number")
                return {}
        return value

    def epochs(self, metrics: Mapping[str, Any]) -> pd.DataFrame | None:
        """Accuracy and loss of every epoch, side by side."""
        model = self.record.model
        # A loss that is no number any more is an empty cell: that training diverged.
        accuracy = self.table(self.paths.accuracy(model), ACCURACY, empty_cells=True)
        loss = self.table(self.paths.loss(model), LOSS, empty_cells=True)
        for path, table in ((self.paths.accuracy(model), accuracy), (self.paths.loss(model), loss)):
            if table is None:
                continue
            if table["epoch"].tolist() != list(range(len(table))):
                self.wrong.append(f"{path.name} does not count its epochs from 0")
                return None
            if self.finished and metrics and len(table) != metrics["epochs"]:
                rows = f"{len(table)} rows for {metrics['epochs']} epochs"
                self.wrong.append(f"{path.name} has {rows}")
                return None
        if accuracy is None or loss is None:
            return accuracy if loss is None else loss
        return accuracy.merge(loss, on="epoch", how="outer")

    def scores(self, split: str, metrics: Mapping[str, Any]) -> pd.DataFrame | None:
        """The score of every image of ``split``."""
        path = self.paths.scores(self.record.model, split)
        table = self.table(path, SCORES)
        images = metrics.get(split, {}).get("images")
        if table is not None and images is not None and images != len(table):
            self.wrong.append(f"{path.name} has {len(table)} rows for {images} images")
            return None
        return table

    def roc(self, split: str) -> pd.DataFrame | None:
        """The ROC points of ``split``; empty cells where there is one class only."""
        path = self.paths.roc(self.record.model, split)
        table = self.table(path, ROC, empty_cells=True)
        if table is None:
            return None
        end = table[["fpr", "tpr"]].tail(1)
        if not len(end) or not ((end == 1) | end.isna()).to_numpy().all():
            self.wrong.append(f"{path.name} does not end at (1, 1)")
            return None
        return table

    def table(
        self, path: Path, columns: Mapping[str, str], *, empty_cells: bool = False
    ) -> pd.DataFrame | None:
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            if self.finished:
                self.absent.append(path.name)
            return None
        except OSError as error:
            self.wrong.append(_reason(error, self.paths))
            return None
        problem = _torn(raw, columns)
        if problem is None:
            try:
                return _parse(raw, columns, empty_cells=empty_cells)
            except ValueError as error:  # UnicodeDecodeError and pandas' ParserError are some
                problem = one_line(str(error))
        self.wrong.append(f"{path.name} {problem}")
        return None


def _torn(raw: bytes, columns: Mapping[str, str]) -> str | None:
    if not raw:
        return "is empty"
    header = raw.split(b"\n", 1)[0].decode(errors="replace").strip().split(",")
    lacking = [name for name in columns if name not in header]
    if lacking:
        return f"has no column {', '.join(lacking)}"
    return None if raw.endswith(b"\n") else "ends in the middle of a line"


def _parse(raw: bytes, columns: Mapping[str, str], *, empty_cells: bool) -> pd.DataFrame:
    # Cells are read as text: an image may be called NA or null, and numbers are converted by
    # NumPy to the last digit, which pandas' own reader does not promise.
    text = pd.read_csv(io.BytesIO(raw), dtype=str, keep_default_na=False, na_filter=False)
    if not isinstance(text.index, pd.RangeIndex):  # pandas takes a cell too many for an index
        raise ValueError("has lines with more cells than columns")
    required = [name for name in columns if name != "patient"]
    if not empty_cells and any((text[name] == "").any() for name in required):
        raise ValueError("has empty cells")
    return pd.DataFrame({name: _converted(text[name], kind) for name, kind in columns.items()})


def _converted(cells: pd.Series[str], kind: str) -> pd.Series[Any]:
    if kind == "str":
        return cells
    if kind == "float64":
        cells = cells.mask(cells == "", "nan")
    try:
        return pd.Series(cells.to_numpy(dtype=object).astype(kind))
    except ValueError as error:
        raise ValueError(f"has a {cells.name} that is no number: {error}") from error


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into one with dotted keys, in the same order."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def one_line(text: str) -> str:
    """Join the words of ``text`` with single spaces."""
    return " ".join(text.split())


def _check_record(record: RunRecord, name: str) -> None:
    if record.run != name:
        raise UserError(f"run.json is the record of '{record.run}'; this folder is a copy")
    error = record.error
    sound = {
        "model": isinstance(record.model, str) and "/" not in record.model,
        "seconds": record.seconds is None or _is_number(record.seconds),
        "replicas": record.replicas is None or _is_number(record.replicas),
        "restarts": _is_number(record.restarts),
        "gpus": isinstance(record.gpus, list) and all(isinstance(g, str) for g in record.gpus),
        "versions": isinstance(record.versions, dict),
        "git": record.git is None or isinstance(record.git, dict),
        "error": error is None or isinstance(error, dict),
    }
    for key in ("node", "job_id", "created", "started", "ended"):
        value = getattr(record, key)
        sound[key] = value is None or isinstance(value, str)
    for key, is_sound in sound.items():
        if not is_sound:
            raise UserError(f"run.json: {key} is {getattr(record, key)!r}")


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def _reason(error: Exception, paths: RunPaths) -> str:
    if isinstance(error, OSError):
        name = Path(str(error.filename)).name if error.filename else paths.name
        return f"{name} cannot be read ({error.strerror})"
    return one_line(str(error).replace(f"{paths.folder}/", ""))
