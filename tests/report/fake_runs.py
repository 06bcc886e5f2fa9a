"""Write run folders as the training does, with random numbers instead of a training."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xray_hpc.config.yaml_files import to_yaml
from xray_hpc.metrics import class_logits, class_scores, logit_names, roc_curves, split_metrics
from xray_hpc.records.atomic_files import write_csv, write_json, write_text
from xray_hpc.records.json_record import with_checksum
from xray_hpc.records.lease_file import write_owner
from xray_hpc.records.paths import SPLITS, RunPaths, SweepPaths
from xray_hpc.records.run_record import Attempt, RunRecord, Status, write_record

NORMAL, PNEUMONIA = "NORMAL", "PNEUMONIA"
THREE_CLASSES = ("Covid", "Normal", "Viral Pneumonia")
CONFIG: dict[str, Any] = {
    "data": {
        **{"source": "demo", "root": None, "image_size": 96, "channels": 1, "crop": 1.0},
        **{"clahe": None, "per_class": None, "split": "patient", "validation_fraction": 0.2},
        **{"split_seed": 42, "demo_images": 800, "demo_seed": 0, "demo_classes": 2},
    },
    "model": {
        **{"name": "cnn", "backbone": None, "weights": None, "unfreeze": None},
        **{"preprocessing": "auto", "head_units": None, "head_dropout": None},
        **{"backbones": None, "output": "auto"},
    },
    "augment": {
        **{"rotation": 0.0, "zoom": 0.1, "shear": 0.0, "height_shift": 0.1, "width_shift": 0.1},
        **{"horizontal_flip": False, "rot90": False, "crop": False, "brightness": 0.0},
        "fill_mode": "reflect",
    },
    "train": {
        **{"epochs": 8, "batch_size": 32, "learning_rate": 0.001, "optimizer": "adam"},
        **{"precision": "float32", "balance": "none", "keep": "val_loss", "save_best": False},
        "early_stopping": {"monitor": "val_loss", "patience": 5, "min_delta": 1e-07},
        "reduce_lr": {
            **{"monitor": "val_loss", "factor": 0.2, "patience": 2, "min_delta": 1e-07},
            **{"cooldown": 0, "min_lr": 0.0},
        },
    },
    "seed": 42,
    "inputs": {"data": "5f0c9e1d2b7a4c6d8e9f", "weights": {}},
    "cache": "/scratch/cache",
}
BACKBONE = {"backbone": "demo", "weights": "demo", "head_units": 128, "head_dropout": 0.1}


def fake_config(model: str, **changes: Any) -> dict[str, Any]:
    """Return ``CONFIG`` for a model with changed keys (``__`` stands for the dot)."""
    config = copy.deepcopy(CONFIG)
    config["model"]["name"] = model
    if model in ("tl", "ft"):
        config["model"].update(BACKBONE)
        config["inputs"]["weights"] = {"demo": "aa11"}
    if model == "ft":
        config["model"]["unfreeze"] = 4
    for key, value in changes.items():
        *parents, last = key.split("__")
        section = config
        for parent in parents:
            section = section[parent]
        section[last] = value
    return config


@dataclass
class FakeRun:
    """The size and quality of a fake run; ``skill`` separates the scores of the classes."""

    skill: float = 2.0
    epochs: int = 8
    images: dict[str, int] = field(default_factory=lambda: {"validation": 60, "test": 80})
    seed: int = 0
    classes: tuple[str, ...] = (NORMAL, PNEUMONIA)


def write_run(
    sweep: SweepPaths,
    model: str,
    fake: FakeRun | None = None,
    *,
    status: str = "finished",
    record: dict[str, Any] | None = None,
    overrides: Sequence[str] = (),
    **changes: Any,
) -> RunPaths:
    """Write a run folder; unfinished runs have neither scores nor metrics.

    Args:
        sweep: the sweep's folder.
        model: name of the model.
        fake: size and quality of the results.
        status: the status in the record.
        record: further fields of the record.
        overrides: overrides of the command line, without that of the model.
        **changes: changed config values, see :func:`fake_config`.
    """
    fake = fake or FakeRun()
    config = fake_config(model, **changes)
    digest = hashlib.sha256(json.dumps(config).encode()).hexdigest()[:8]
    paths = sweep.run(f"{model}-{digest}")
    number = len(list(sweep.runs.iterdir())) if sweep.runs.exists() else 0
    paths.folder.mkdir(parents=True)
    write_text(paths.config, to_yaml(config))
    write_text(paths.log, "epoch 1\n")
    known: dict[str, Any] = {
        "created": "2026-11-22T03:40:00+00:00",
        **({} if status == "created" else started_fields(f"12_{number}", status)),
        **(
            {"ended": "2026-11-22T03:42:30+00:00", "seconds": 90.5, "seconds_per_epoch": 11.3}
            if status == "finished"
            else {}
        ),
        "overrides": [f"model={model}", *overrides],
    }
    fields = {"run": paths.name, "sweep": sweep.name, "model": model, "status": Status(status)}
    write_record(paths, RunRecord(**(fields | known | (record or {}))))
    if status == "created":
        return paths
    history = _history(fake)
    write_csv(paths.accuracy(model), history[["epoch", "train_accuracy", "val_accuracy"]])
    write_csv(paths.loss(model), history[["epoch", "train_loss", "val_loss"]])
    write_csv(paths.auc(model), history[["epoch", "val_auc"]])
    if status == "finished":
        _write_results(paths, model, fake, int(history["val_loss"].idxmin()) + 1)
    return paths


def started_fields(job: str, status: str) -> dict[str, Any]:
    """Return the fields of a started run\'s record, with one attempt."""
    return {
        "started": "2026-11-22T03:41:00+00:00",
        "node": "node1",
        "gpus": ["NVIDIA H200"],
        "replicas": 1,
        "job_id": job,
        "job_ids": [job],
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0"},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "attempts": [running_attempt(job) if status == "running" else ended_attempt(job)],
    }


def running_attempt(job: str = "12_0", **changes: Any) -> Attempt:
    """Return an attempt without an end."""
    fields: dict[str, Any] = {
        **{"queued": "2026-11-22T03:40:00+00:00", "started": "2026-11-22T03:41:00+00:00"},
        **{"node": "node1", "job_id": job, "gpus": 1, "cpus": 4},
        **{"memory": 16384, "time_limit": 240},
    }
    return Attempt(**(fields | changes))


def ended_attempt(job: str = "12_0", **changes: Any) -> Attempt:
    """Return an attempt of 100 s that used half of its CPUs and a quarter of its memory."""
    ended = {"ended": "2026-11-22T03:42:40+00:00", "epochs": 8, "peak_memory": 4096}
    return running_attempt(job, **(ended | {"cpu_seconds": 200.0, "gpu_use": 62.0} | changes))


def hold_lease(paths: RunPaths) -> None:
    """Create a lease of the run that this process holds, and so does not expire during a test."""
    paths.lease.mkdir()
    write_owner(paths.lease / "1", None, 0)


def _history(fake: FakeRun) -> pd.DataFrame:
    rng = np.random.default_rng(fake.seed)
    epoch = np.arange(fake.epochs)
    floor = 0.75 / (1 + fake.skill)
    train = 0.95 * floor + 0.7 * np.exp(-epoch * 0.6) * floor
    overfit = 0.012 * np.maximum(epoch - 4, 0)
    val = floor + 0.75 * np.exp(-epoch * 0.5) * floor + overfit
    train += rng.normal(0, 0.01, len(epoch))
    val += rng.normal(0, 0.02, len(epoch))
    return pd.DataFrame(
        {
            "epoch": epoch,
            "train_accuracy": 1 - 0.42 * train,
            "val_accuracy": 1 - 0.45 * val,
            "train_loss": train,
            "val_loss": val,
            "val_auc": 1 - 0.3 * val,
        }
    )


def _write_results(paths: RunPaths, model: str, fake: FakeRun, best_epoch: int) -> None:
    classes, splits = fake.classes, {}
    for shift, split in enumerate(SPLITS):
        n = fake.images[split]
        rng = np.random.default_rng([fake.seed, shift])
        distance = fake.skill * (1 - 0.2 * shift)
        if len(classes) == 2:
            y_true = (np.arange(n) % 3 != 0).astype(int)  # the same images for all runs
            outputs = ((y_true - 0.5) * distance * 1.6 + rng.normal(0, 1, n))[:, None]
        else:
            y_true = np.arange(n) * 7 % 11 % len(classes)
            outputs = np.eye(len(classes))[y_true] * distance + rng.normal(0, 1, (n, len(classes)))
        logits = class_logits(outputs)
        # Rounded, because the last digits of a logarithm depend on the processor.
        splits[split] = _rounded(dataclasses.asdict(split_metrics(y_true, logits, classes)))
        names = logit_names(classes)
        by_name = dict(zip(names, logits.T[-len(names) :], strict=True))
        scores = {n.replace("logit", "y_scores", 1): class_scores(x) for n, x in by_name.items()}
        table = {"y_true": y_true, **scores, **by_name}
        kinds = [name.lower().replace(" ", "-") for name in classes]
        table["file"] = [f"person{i // 2}_{kinds[y]}_{i}.jpeg" for i, y in enumerate(y_true)]
        table["patient"] = [f"person{i // 2}" for i in range(n)]
        write_csv(paths.scores(model, split), pd.DataFrame(table))
        curves = [
            pd.DataFrame(
                dict(zip(("fpr", "tpr", "thresholds"), curve, strict=True))
                | ({} if len(classes) == 2 else {"score_of": name})
            )
            for name, curve in roc_curves(y_true, logits, classes).items()
        ]
        write_csv(paths.roc(model, split), pd.concat(curves))
    write_json(
        paths.metrics,
        {
            **{"classes": list(classes), "threshold": 0.5 if len(classes) == 2 else None},
            **{"best_epoch": best_epoch, "epochs": fake.epochs, "stopped_early": False},
            "flags": [],
            **{"parameters": 123456, "trainable_parameters": 4567},
            **splits,
        },
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 6) if isinstance(value, float) else value


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the contents of a JSON file; the checksum of a run.json fits the new ones."""
    value = json.loads(path.read_text())
    value.pop("checksum", None)
    change(value)
    is_record = path.name == "run.json"
    path.write_text(with_checksum(value, indent=2) if is_record else json.dumps(value))
