"""Run folders as training writes them, made of drawn numbers, without any training."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xray_hpc.config.yaml_files import to_yaml
from xray_hpc.metrics import roc_curves, split_metrics
from xray_hpc.records.atomic_files import write_csv, write_json, write_text
from xray_hpc.records.paths import SPLITS, RunPaths, SweepPaths
from xray_hpc.records.run_record import Attempt, RunRecord, Status, write_record

NORMAL, PNEUMONIA = "NORMAL", "PNEUMONIA"
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


def config_of(model: str, **changes: Any) -> dict[str, Any]:
    """``CONFIG`` for a model, with dotted keys changed (``__`` for the dot)."""
    config = copy.deepcopy(CONFIG)
    config["model"]["name"] = model
    if model in ("tl", "ft"):
        config["model"].update(BACKBONE)
        config["inputs"]["weights"] = {"demo": "aa11"}
    if model == "ft":
        config["model"]["unfreeze"] = 4
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = config
        for parent in parents:
            place = place[parent]
        place[last] = value
    return config


@dataclass
class Drawn:
    """How good a made-up run is. ``skill`` is the distance between the classes' scores."""

    skill: float = 2.0
    epochs: int = 8
    images: dict[str, int] = field(default_factory=lambda: {"validation": 60, "test": 80})
    seed: int = 0
    classes: tuple[str, ...] = (NORMAL, PNEUMONIA)


def write_run(
    sweep: SweepPaths,
    model: str,
    drawn: Drawn | None = None,
    *,
    status: str = "finished",
    record: dict[str, Any] | None = None,
    overrides: Sequence[str] = (),
    **changes: Any,
) -> RunPaths:
    """Write a run folder; one that has not finished has neither scores nor metrics.

    ``overrides`` are the command line's words, without the model's.
    """
    drawn = drawn or Drawn()
    config = config_of(model, **changes)
    digest = hashlib.sha256(json.dumps(config).encode()).hexdigest()[:8]
    paths = sweep.run(f"{model}-{digest}")
    number = len(list(sweep.runs.iterdir())) if sweep.runs.exists() else 0
    paths.folder.mkdir(parents=True)
    write_text(paths.config, to_yaml(config))
    write_text(paths.log, "epoch 0\n")
    known: dict[str, Any] = {
        "created": "2026-11-22T03:40:00+00:00",
        **({} if status == "created" else started(f"12_{number}", status)),
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
    history = _history(drawn)
    write_csv(paths.accuracy(model), history[["epoch", "train_accuracy", "val_accuracy"]])
    write_csv(paths.loss(model), history[["epoch", "train_loss", "val_loss"]])
    write_csv(paths.auc(model), history[["epoch", "val_auc"]])
    if status == "finished":
        _write_results(paths, model, drawn, int(history["val_loss"].idxmin()))
    return paths


def started(job: str, status: str) -> dict[str, Any]:
    """What a record says of a run that was started, in one try that ended unless it is going."""
    return {
        "started": "2026-11-22T03:41:00+00:00",
        "node": "node1",
        "gpus": ["NVIDIA H200"],
        "replicas": 1,
        "job_id": job,
        "job_ids": [job],
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0"},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "attempts": [going(job) if status == "running" else one_attempt(job)],
    }


def going(job: str = "12_0", **changes: Any) -> Attempt:
    """A try that has not ended."""
    fields: dict[str, Any] = {
        **{"queued": "2026-11-22T03:40:00+00:00", "started": "2026-11-22T03:41:00+00:00"},
        **{"node": "node1", "job_id": job, "gpus": 1, "cpus": 4},
        **{"memory": 16384, "time_limit": 240},
    }
    return Attempt(**(fields | changes))


def one_attempt(job: str = "12_0", **changes: Any) -> Attempt:
    """A try of 100 s, half of whose CPUs and a quarter of whose memory were used."""
    ended = {"ended": "2026-11-22T03:42:40+00:00", "epochs": 8, "peak_memory": 4096}
    return going(job, **(ended | {"cpu_seconds": 200.0, "gpu_use": 62.0} | changes))


def hold(paths: RunPaths) -> None:
    """Let somebody hold the run's lease, for as long as a test may take."""
    paths.lease.mkdir()
    owner = paths.lease / "1"
    owner.touch()
    os.utime(owner, times=(ahead := time.time() + 3600, ahead))


def _history(drawn: Drawn) -> pd.DataFrame:
    rng = np.random.default_rng(drawn.seed)
    epoch = np.arange(drawn.epochs)
    floor = 0.75 / (1 + drawn.skill)
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


def _write_results(paths: RunPaths, model: str, drawn: Drawn, best_epoch: int) -> None:
    classes, splits = drawn.classes, {}
    for shift, split in enumerate(SPLITS):
        n = drawn.images[split]
        rng = np.random.default_rng([drawn.seed, shift])
        distance = drawn.skill * (1 - 0.2 * shift)
        if len(classes) == 2:
            y_true = (np.arange(n) % 3 != 0).astype(int)  # the same images for every run
            logits = (y_true - 0.5) * distance * 1.6 + rng.normal(0, 1, n)
            positive = 1 / (1 + np.exp(-logits))
            scores = np.stack([1 - positive, positive], axis=1)
        else:
            y_true = np.arange(n) * 7 % 11 % len(classes)
            logits = np.eye(len(classes))[y_true] * distance + rng.normal(0, 1, (n, len(classes)))
            scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        # Rounded, because the last digits of a logarithm differ between processors.
        splits[split] = _rounded(dataclasses.asdict(split_metrics(y_true, scores, classes)))
        table = {"y_true": y_true}
        if len(classes) == 2:
            table["y_scores"] = scores[:, 1]
        else:
            table |= {f"y_scores_{name}": scores[:, i] for i, name in enumerate(classes)}
        kinds = [name.lower().replace(" ", "-") for name in classes]
        table["file"] = [f"person{i // 2}_{kinds[y]}_{i}.jpeg" for i, y in enumerate(y_true)]
        table["patient"] = [f"person{i // 2}" for i in range(n)]
        write_csv(paths.scores(model, split), pd.DataFrame(table))
        curves = [
            pd.DataFrame(
                dict(zip(("fpr", "tpr", "thresholds"), curve, strict=True))
                | ({} if len(classes) == 2 else {"class": name})
            )
            for name, curve in roc_curves(y_true, scores, classes).items()
        ]
        write_csv(paths.roc(model, split), pd.concat(curves))
    write_json(
        paths.metrics,
        {
            **{"classes": list(classes), "threshold": 0.5 if len(classes) == 2 else None},
            **{"best_epoch": best_epoch, "epochs": drawn.epochs, "stopped_early": False},
            **{"parameters": 123456, "trainable_parameters": 4567},
            **splits,
        },
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 6) if isinstance(value, float) else value


def plan(
    sweep: SweepPaths, runs: dict[str, list[str]], at: str = "2026-11-22T03:40:00+00:00"
) -> None:
    """Write the ledger of a launch that submitted ``runs`` to Slurm."""
    tasks = [[run] for run in runs]
    events = [
        {"event": "planned", "time": at, "runs": runs},
        {"event": "submitting", "time": at, "submission": "s1", "kind": "runs", "tasks": tasks},
    ]
    with sweep.ledger.open("a") as ledger:
        ledger.writelines(json.dumps(event) + "\n" for event in events)


def three_models(folder: Path) -> SweepPaths:
    """A sweep whose three runs, one of each model, have all finished."""
    sweep = SweepPaths(folder)
    runs = [
        write_run(sweep, model, Drawn(skill=skill, seed=seed), train__learning_rate=rate)
        for seed, (model, skill, rate) in enumerate(
            [("cnn", 1.2, 1e-3), ("tl", 2.0, 5e-4), ("ft", 2.9, 1e-5)]
        )
    ]
    plan(sweep, {run.name: [f"model={run.name.split('-')[0]}"] for run in runs})
    return sweep


def grid(folder: Path, seeds: int = 1, *, complete: bool = True) -> SweepPaths:
    """Four learning rates by three depths; without ``complete`` two cells have no result."""
    sweep = SweepPaths(folder)
    runs = {}
    for i, depth in enumerate((2, 13, 24)):
        for j, rate in enumerate((1e-6, 1e-5, 1e-4, 1e-3)):
            for seed in range(42, 42 + seeds):
                images = {"validation": 400, "test": 600}
                skill = 2.9 - 0.45 * abs(i - 1) - 0.6 * abs(j - 1.5)
                failing = not complete and (i, j) in ((0, 3), (2, 0))
                run = write_run(
                    sweep,
                    "ft",
                    Drawn(skill, seed=100 * i + 10 * j + seed, images=images),
                    status="failed" if failing else "finished",
                    record={"error": {"type": "ValueError", "message": "no"}} if failing else {},
                    model__unfreeze=depth,
                    train__learning_rate=rate,
                    seed=seed,
                )
                runs[run.name] = [f"train.learning_rate={rate}", f"model.unfreeze={depth}"]
    plan(sweep, runs)
    return sweep


LUNGS = ("Covid", "Normal", "Viral Pneumonia")
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "larcc": {"model": "tl", "data__channels": 3},
    "stacked": {"model": "stacked", "data__channels": 3, "model__backbones": {"demo": "demo"}},
    "reduced": {"model": "conv", "data__image_size": 176, "data__per_class": 1000},
    "lung": {"model": "lung", "data__demo_classes": 3, "inputs__data": "c0ffee123456"},
    "vgg": {"model": "vgg", "train__optimizer": "rmsprop", "augment__rotation": 30.0},
}


def experiments(folder: Path, lungs: tuple[str, ...] = LUNGS) -> SweepPaths:
    """``experiment=larcc,stacked,reduced,lung,vgg``: four of two classes, one of three."""
    sweep = SweepPaths(folder)
    runs = {}
    for seed, (name, changes) in enumerate(EXPERIMENTS.items()):
        drawn = Drawn(skill=1.6 + 0.3 * seed, seed=seed, epochs=6 + seed)
        if name == "lung":
            drawn.classes, drawn.images = lungs, {"validation": 50, "test": 66}
        changes = dict(changes)
        model, words = changes.pop("model"), [f"experiment={name}"]
        run = write_run(sweep, model, drawn, overrides=words, **changes)
        runs[run.name] = words
    plan(sweep, runs)
    return sweep


def three_classes(folder: Path) -> SweepPaths:
    """Twelve runs of three classes: four learning rates by three seeds."""
    sweep = SweepPaths(folder)
    runs = {}
    for i, rate in enumerate((1e-4, 5e-4, 1e-3, 5e-3)):
        for seed in (1, 2, 3):
            words = [f"train.learning_rate={rate}", f"seed={seed}"]
            drawn = Drawn(
                skill=3.2 - 0.8 * abs(i - 1.7),
                seed=10 * i + seed,
                images={"validation": 150, "test": 240},
                classes=LUNGS,
            )
            changes: dict[str, Any] = {"train__learning_rate": rate, "seed": seed}
            run = write_run(sweep, "lung", drawn, overrides=words, data__demo_classes=3, **changes)
            runs[run.name] = words
    plan(sweep, runs)
    return sweep
