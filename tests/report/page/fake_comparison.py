"""Build the content of a page from fake runs, with rough intervals instead of real statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.report.fake_runs import FakeRun, write_run
from tests.report.fake_sweeps import read_runs, write_ledger
from xray_hpc.records.paths import SPLITS, SweepPaths
from xray_hpc.report.comparison import Comparison, ReportWarning, Winner
from xray_hpc.report.dataset_groups import RunGroup, group_runs
from xray_hpc.report.page.content import PageContent
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import SEED, compared_keys, config_value, run_labels

METRICS = ("auc", "average_precision", "accuracy", "balanced_accuracy", "f1", "mcc")
RATES = ("sensitivity", "specificity", "ppv", "npv")
RULES = {"fixed": 0.5, "youden": 0.61, "sensitivity": 0.34, "specificity": 0.72}


def wide_sweep(folder: Path, runs: int = 30, *, unfinished: bool = True) -> SweepPaths:
    """Write learning rates by depths by seeds, ``runs`` in all, and three runs without a result."""
    sweep, planned = SweepPaths(folder), {}
    grid = [(depth, rate) for depth in (2, 13, 24) for rate in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)]
    for i in range(runs):
        (depth, rate), seed = grid[i % len(grid)], 42 + i // len(grid)
        skill = 2.9 - 0.3 * abs(depth - 13) / 11 - 0.45 * abs(math.log10(rate) + 4.6)
        fake = FakeRun(skill, seed=i, images={"validation": 120, "test": 200}, epochs=10)
        overrides = [f"model.unfreeze={depth}", f"train.learning_rate={rate}", f"seed={seed}"]
        changes = {"model__unfreeze": depth, "train__learning_rate": rate, "seed": seed}
        run = write_run(sweep, "ft", fake, overrides=overrides, **changes)
        planned[run.name] = ["model=ft", *overrides]
    for status in ("failed", "interrupted", "created") if unfinished else ():
        error = {"type": "ValueError", "message": "image 3 is damaged"}
        record = {"error": error, "failure": "bad_data"} if status == "failed" else {}
        run = write_run(sweep, "cnn", status=status, record=record, train__epochs=len(status))
        planned[run.name] = ["model=cnn"]
    write_ledger(sweep, planned)
    return sweep


def fake_content(sweep: SweepPaths, runs: Sequence[RunResult] | None = None) -> PageContent:
    """Return the content of the sweep's page."""
    runs = read_runs(sweep) if runs is None else runs
    epochs = [_frame(run, run.epochs) for run in runs if run.epochs is not None]
    roc = [_frame(run, table, split) for run in runs for split, table in run.roc.items()]
    return PageContent(
        sweep=sweep.name,
        comparison=fake_comparison(runs),
        runs=runs,
        epochs=pd.concat(epochs) if epochs else pd.DataFrame(columns=["run"]),
        roc=pd.concat(roc) if roc else pd.DataFrame(columns=["run", "split"]),
        logs={run.name: f"../runs/{run.name}/log" for run in runs if not run.finished},
        inserts={"data": "<p>The data card.</p>"},
    )


def fake_comparison(runs: Sequence[RunResult]) -> Comparison:
    """Return a comparison with a value in every table."""
    groups = group_runs(runs)
    labels = run_labels(runs, compared_keys(runs))
    return Comparison(
        rule="val_loss",
        winners=[_winner(group, labels) for group in groups],
        warnings=[
            ReportWarning(
                "saturated_validation",
                "",
                "The validation AUC is saturated: 12 of 30 runs are above 0.995. Runs were "
                "selected by validation log-loss.",
            ),
            ReportWarning(
                "test_too_small",
                "",
                "The test set (200 images of 100 patients) can tell a difference in AUC of 0.021 "
                "or more; the leaders are closer.",
            ),
        ],
        ranking=pd.DataFrame(row for group in groups for row in _ranking(group, runs, labels)),
        settings=pd.DataFrame(),
        metrics=pd.DataFrame(row for group in groups for row in _metrics(group)),
        classes=pd.DataFrame(row for group in groups for row in _classes(group)),
        pairs=pd.DataFrame(row for group in groups for row in _pairs(group)),
        pr=pd.concat([_pr(run, split) for run in runs if run.finished for split in SPLITS]),
        confusion=pd.DataFrame(row for group in groups for row in _confusion(group)),
        calibration=pd.DataFrame(row for group in groups for row in _calibration(group)),
        reliability=pd.DataFrame(row for group in groups for row in _reliability(group)),
        importance=pd.DataFrame(
            {"data": group.title, "key": key, "importance": value, "runs": len(group.runs)}
            for group in groups
            for key, value in zip(compared_keys(runs), (0.71, 0.12, 0.03), strict=False)
        ),
        misses=pd.DataFrame(row for group in groups for row in _misses(group)),
        subgroups=pd.DataFrame(row for group in groups for row in _subgroups(group)),
        shift=pd.DataFrame(row for group in groups for row in _shift(group)),
    )


def _frame(run: RunResult, table: Any, split: str | None = None) -> pd.DataFrame:
    frame = pd.DataFrame({"run": run.name, "model": run.model, **table})
    if split is not None:
        frame.insert(2, "split", split)
        if "score_of" not in frame:
            frame["score_of"] = run.classes[1]
    return frame


def _winner(group: RunGroup, labels: dict[str, str]) -> Winner:
    best, tied = group.runs[0], [run.name for run in group.runs[1:5]]
    auc = best.metric("test", "auc")
    answer = (
        f"By validation log-loss, {labels[best.name]} is the best of {len(group.runs)} runs: its "
        f"test AUC is {auc:.3f} [{auc - 0.02:.3f}, {min(auc + 0.01, 1):.3f}]. On these 200 test "
        f"images of 100 patients, {len(tied)} other runs cannot be told apart from it."
    )
    return Winner(group.title, best.name, labels[best.name], "val_loss", answer, tied)


def _half(value: float, images: int) -> float:
    return 1.96 * math.sqrt(max(value * (1 - value), 1e-4) / images)


def _ranking(
    group: RunGroup, runs: Sequence[RunResult], labels: dict[str, str]
) -> Iterator[dict[str, Any]]:
    best = group.runs[0].metric("test", "auc")
    keys = [key for key in compared_keys(runs) if key != SEED]
    for rank, run in enumerate(group.runs, 1):
        row: dict[str, Any] = {"data": group.title, "rank": rank, "run": run.name}
        row |= {"label": labels[run.name], "setting": labels[run.name], "model": run.model}
        row |= {key: config_value(run, key) for key in keys}
        row |= {"seed": run.config.get("seed"), "selection": run.metric("validation", "loss")}
        for split in SPLITS:
            for metric in ("auc", "accuracy", "sensitivity", "specificity", "f1"):
                value = run.metric(split, metric)
                row[f"{split}_{metric}"] = value
                if split == "test" and value is not None:
                    half = _half(value, run.metric(split, "images"))
                    bounds = (None, None) if value in (0, 1) else (value - half, value + half)
                    row |= dict(
                        zip((f"test_{metric}_low", f"test_{metric}_high"), bounds, strict=True)
                    )
        row |= {"tied": rank <= 5, "difference": run.metric("test", "auc") - best}
        yield row | {"p_holm": 1.0 if rank == 1 else min(1.0, 3.0 / rank**2)}


def _metrics(group: RunGroup) -> Iterator[dict[str, Any]]:
    for run in group.runs:
        for split in SPLITS:
            images = run.metric(split, "images")
            for rule, threshold in RULES.items():
                for shift, metric in enumerate(RATES[:2]):
                    value = run.metric(split, metric)
                    if value is None:
                        continue
                    value = min(value + (0.5 - threshold) * (-1) ** shift * 0.2, 1.0)
                    half = _half(value, images)
                    yield {
                        **{"data": group.title, "run": run.name, "split": split, "rule": rule},
                        **{"threshold": threshold, "metric": metric, "value": value},
                        **{"low": value - half, "high": min(value + half, 1)},
                        **{"images": images, "patients": images // 2},
                    }
            value = run.metric(split, "auc")
            yield {
                **{"data": group.title, "run": run.name, "split": split, "rule": ""},
                **{"threshold": None, "metric": "auc", "value": value, "low": value - 0.02},
                **{"high": value + 0.01, "images": images, "patients": images // 2},
            }


def _classes(group: RunGroup) -> Iterator[dict[str, Any]]:
    for run in group.runs:
        for name, found in (run.metric("test", "per_class") or {}).items():
            yield {
                **{"data": group.title, "run": run.name, "split": "test", "class": name},
                **{"metric": "auc", "value": found.auc, "low": None, "high": None, "images": 10},
            }


def _pairs(group: RunGroup) -> Iterator[dict[str, Any]]:
    first = group.runs[0]
    for i, other in enumerate(group.runs[1:]):
        for metric in ("auc", "accuracy"):
            difference = first.metric("test", metric) - other.metric("test", metric)
            yield {
                **{"data": group.title, "first": first.name, "second": other.name},
                **{"metric": metric, "difference": difference, "low": difference - 0.02},
                **{"high": difference + 0.02, "statistic": 1.0, "p": 0.3 / (i + 1)},
                **{"p_holm": min(1.0, 3 / (i + 1) ** 2), "distinguishable": i > 3},
            }


def _pr(run: RunResult, split: str) -> pd.DataFrame:
    roc = pd.DataFrame(run.roc[split])
    tpr, fpr = roc["tpr"], roc["fpr"]
    precision = (2 * tpr / (2 * tpr + fpr)).fillna(1.0)
    points = {"recall": tpr, "precision": precision, "threshold": roc["thresholds"]}
    frame = pd.DataFrame({"run": run.name, "model": run.model, "split": split, **points})
    frame["score_of"] = roc["score_of"] if "score_of" in roc else run.classes[1]
    return frame


def _confusion(group: RunGroup) -> Iterator[dict[str, Any]]:
    for run in group.runs:
        for split in SPLITS:
            matrix = run.metric(split, "confusion")
            for true, counts in zip(run.classes, matrix, strict=True):
                for predicted, images in zip(run.classes, counts, strict=True):
                    yield {
                        **{"data": group.title, "run": run.name, "split": split, "rule": "fixed"},
                        **{"true": true, "predicted": predicted, "images": images},
                    }


def _calibration(group: RunGroup) -> Iterator[dict[str, Any]]:
    for run in group.runs:
        loss = run.metric("test", "loss")
        for scaled, factor in ((False, 1.0), (True, 0.9)):
            yield {
                **{"data": group.title, "run": run.name, "split": "test", "scaled": scaled},
                **{"temperature": 1.7, "brier": 0.08 * factor, "ece": 0.05 * factor**4},
                "loss": loss * factor,
            }


def _reliability(group: RunGroup) -> Iterator[dict[str, Any]]:
    for run in group.runs:
        for scaled in (False, True):
            for i in range(10):
                mean = (i + 0.5) / 10
                share = float(np.clip(mean + (0.02 if scaled else 0.09) * math.sin(6 * mean), 0, 1))
                yield {
                    **{"data": group.title, "run": run.name, "split": "test", "scaled": scaled},
                    **{"bin": i, "low": i / 10, "high": (i + 1) / 10, "images": 20},
                    **{"mean_score": mean, "positive_share": share},
                    "positive_low": max(share - 0.08, 0),
                    "positive_high": min(share + 0.08, 1),
                }


def _misses(group: RunGroup) -> Iterator[dict[str, Any]]:
    runs = len(group.runs)
    for i in range(12):
        for split in SPLITS:
            yield {
                **{"data": group.title, "split": split, "file": f"person{i}_normal_{i}.jpeg"},
                **{"patient": f"person{i}", "class": group.classes[0], "runs": runs},
                **{"missed_by": max(runs - i, 1), "mean_score": 0.98 - i / 40},
            }


def _subgroups(group: RunGroup) -> Iterator[dict[str, Any]]:
    for run in group.runs[:1]:
        for name, value in (("bacteria", 0.97), ("virus", 0.94)):
            yield {
                **{"data": group.title, "run": run.name, "split": "test", "column": "etiology"},
                **{"subgroup": name, "metric": "sensitivity", "value": value},
                **{"low": value - 0.03, "high": value + 0.02, "images": 90, "patients": 60},
            }


def _shift(group: RunGroup) -> Iterator[dict[str, Any]]:
    quantities = {"prevalence": 0.74, "mean": 122.0, "contrast": 57.5}
    for quantity, value in quantities.items():
        for i, split in enumerate(("train", *SPLITS)):
            yield {
                **{"data": group.title, "quantity": quantity, "split": split, "class": ""},
                "value": value * (1 - 0.04 * i),
            }
