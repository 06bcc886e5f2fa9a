"""Sweeps whose best run is known: which one is chosen, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.report.fake_runs import fake_config
from xray_hpc.metrics import class_logits, class_scores, split_metrics
from xray_hpc.records.paths import SPLITS
from xray_hpc.records.run_metrics import RunMetrics
from xray_hpc.report.compare import COLUMNS, compare_runs
from xray_hpc.report.comparison import Comparison
from xray_hpc.report.metric_table import BASELINE
from xray_hpc.report.read_run import flatten
from xray_hpc.report.run_result import RunResult

CLASSES = ["NORMAL", "PNEUMONIA"]
IMAGES = {"validation": 400, "test": 300}
Relabel = Callable[[str, Any], Any]


def scored_run(
    name: str,
    skill: float,
    noise: int,
    *,
    patients: bool = True,
    relabel: Relabel = lambda _, y: y,
    **changes: Any,
) -> RunResult:
    """Return a finished run; ``skill`` is the distance of the classes in standard deviations."""
    tables, metrics = {}, {}
    for shift, split in enumerate(SPLITS):
        n = IMAGES[split]
        y = (np.arange(n) % 3 != 0).astype(int)
        x = (y - 0.5) * skill + np.random.default_rng([noise, shift]).normal(0, 1, n)
        y = relabel(split, y)
        logits = class_logits(x[:, None])
        metrics[split] = split_metrics(y, logits, CLASSES)
        files = np.array([f"person{i // 2}_{i}.jpeg" for i in range(n)], dtype=object)
        owners = [f"person{i // 2}" if patients else "" for i in range(n)]
        tables[split] = {
            **{"file": files, "patient": np.array(owners, dtype=object), "y_true": y},
            **{"y_scores": class_scores(x), "logit": x},
        }
    config = flatten(fake_config("ft", **changes))
    overrides = {key.replace("__", "."): str(value) for key, value in changes.items()}
    fields = {"threshold": 0.5, "best_epoch": 1, "epochs": 1, "stopped_early": False}
    found = RunMetrics(CLASSES, **fields, parameters=1, trainable_parameters=1, **metrics, flags=[])
    result = {"config": config, "overrides": overrides, "metrics": found, "scores": tables}
    return RunResult(name, "ft", "finished", **result)


def grid(skills: list[float], seeds: int = 1, **options: Any) -> list[RunResult]:
    """Return runs that differ in their learning rate, each with its own skill."""
    return [
        scored_run(
            f"ft-{i}{seed}",
            skill,
            100 * i + seed,
            **options,
            train__learning_rate=10.0**-i,
            seed=seed,
        )
        for i, skill in enumerate(skills, 1)
        for seed in range(seeds)
    ]


@pytest.fixture(scope="module")
def planted() -> Comparison:
    return compare_runs(grid([1.0, 1.2, 3.5, 1.1]))


def test_the_planted_better_run_wins_and_nothing_is_tied_with_it(planted: Comparison) -> None:
    (winner,) = planted.winners
    assert (winner.run, winner.rule, winner.tied) == ("ft-30", "val_loss", [])
    assert winner.label == "ft, lr 0.001"
    assert "higher than that of all 3 other runs" in winner.answer
    assert planted.pairs["distinguishable"].all()
    assert (planted.pairs["difference"] > 0).all()


def test_equal_models_are_tied(planted: Comparison) -> None:
    comparison = compare_runs(grid([2.0] * 4))
    (winner,) = comparison.winners
    assert len(winner.tied) == 3
    assert "cannot be told apart from that of all 3 other runs" in winner.answer
    assert {warning.code for warning in comparison.warnings} >= {"small_test", "one_seed"}
    assert "small_test" not in {warning.code for warning in planted.warnings}


@pytest.mark.parametrize("rule", ["val_loss", "val_auc", "val_brier", "val_mcc"])
def test_test_labels_never_change_the_winner(rule: str) -> None:
    def shuffled(split: str, y: Any) -> Any:
        return np.random.default_rng(7).permutation(y) if split == "test" else y

    skills = [1.6, 1.7, 1.5, 1.65]
    as_trained = compare_runs(grid(skills, 2), rule).ranking
    permuted = compare_runs(grid(skills, 2, relabel=shuffled), rule).ranking
    assert list(as_trained["run"]) == list(permuted["run"])
    assert (as_trained["selection"] == permuted["selection"]).all()
    assert not np.allclose(as_trained["test_auc"], permuted["test_auc"])


def test_the_setting_with_the_best_mean_wins_over_one_lucky_seed() -> None:
    runs = [
        scored_run(f"ft-{rate}{seed}", skill, seed, train__learning_rate=rate, seed=seed)
        for rate, skills in ((0.1, (4.0, 0.1)), (0.2, (3.0, 3.0)))
        for seed, skill in enumerate(skills)
    ]
    comparison = compare_runs(runs, "val_auc")
    ranking = comparison.ranking.set_index("run")
    assert ranking["selection"].idxmax() == "ft-0.10"
    assert ranking.index[0].startswith("ft-0.2")
    settings = comparison.settings.set_index("setting")
    assert list(settings.index) == ["ft, lr 0.2", "ft, lr 0.1"]
    assert list(settings["seeds"]) == ["0; 1"] * 2
    seeds = ranking.loc[ranking["setting"] == "ft, lr 0.1", "test_auc"]
    assert settings["test_auc_mean"]["ft, lr 0.1"] == pytest.approx(seeds.mean())
    assert settings["test_auc_sd"]["ft, lr 0.1"] == pytest.approx(seeds.std(ddof=1))
    assert "2 settings, averaged over seeds" in comparison.winners[0].answer


def test_values_are_those_of_scikit_learn_and_lie_in_their_intervals(planted: Comparison) -> None:
    run = next(run for run in grid([1.0, 1.2, 3.5, 1.1]) if run.name == "ft-20")
    row = planted.ranking.set_index("run").loc["ft-20"]
    for split, table in run.scores.items():
        y, x = table["y_true"], table["logit"]
        assert row[f"{split}_auc"] == pytest.approx(roc_auc_score(y, x))
        assert row[f"{split}_average_precision"] == pytest.approx(average_precision_score(y, x))
        found = run.metrics.split(split)  # type: ignore[union-attr]
        for name in ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "loss"):
            assert row[f"{split}_{name}"] == pytest.approx(getattr(found, name))
    metrics = planted.metrics.dropna(subset=["low"])
    assert (metrics["low"] <= metrics["value"] + 1e-9).all()
    assert (metrics["value"] <= metrics["high"] + 1e-9).all()


def test_thresholds_are_chosen_on_validation_alone(planted: Comparison) -> None:
    metrics = planted.metrics[planted.metrics["run"] != BASELINE]
    chosen = metrics[metrics["rule"] != ""].groupby(["run", "rule"])["threshold"]
    assert (chosen.nunique() == 1).all()  # the same on both splits
    rows = metrics.set_index(["split", "rule", "metric"])["value"]
    assert (rows["validation", "sensitivity", "sensitivity"] >= 0.95).all()
    assert (rows["validation", "specificity", "specificity"] >= 0.9).all()


def test_baseline_predicts_the_most_frequent_class(planted: Comparison) -> None:
    rows = planted.metrics[planted.metrics["run"] == BASELINE].set_index(["split", "metric"])
    assert rows.loc[("test", "accuracy"), "value"] == pytest.approx(2 / 3)
    assert rows.loc[("test", "balanced_accuracy"), "value"] == 0.5
    assert BASELINE not in set(planted.ranking["run"])


def test_misses_name_images_that_most_runs_miss_first(planted: Comparison) -> None:
    misses = planted.misses[planted.misses["split"] == "test"]
    assert misses["missed_by"].is_monotonic_decreasing
    assert (misses["runs"] == 4).all()
    errors = planted.confusion.query("split == 'test' and rule == 'fixed' and true != predicted")
    assert misses["missed_by"].sum() == errors["images"].sum()


def test_confusion_adds_up_to_the_images(planted: Comparison) -> None:
    totals = planted.confusion.groupby(["run", "split", "rule"])["images"].sum()
    assert {split: set(found) for split, found in totals.groupby("split")} == {
        split: {images} for split, images in IMAGES.items()
    }


def test_unknown_patients_are_a_warning_and_make_each_image_its_own() -> None:
    comparison = compare_runs(grid([2.0, 3.0], patients=False))
    assert comparison.warnings[0].code == "patients_unknown"
    assert "300 of 300 test images" in comparison.warnings[0].text
    assert (comparison.metrics.query("split == 'test'")["patients"] == 300).all()
    assert set(comparison.misses["patient"]) == {""}


def test_temperature_scaling_improves_the_validation_loss(planted: Comparison) -> None:
    rows = planted.calibration[planted.calibration["split"] == "validation"]
    loss = rows.set_index(["run", "scaled"])["loss"].unstack()
    assert (loss[True] <= loss[False] + 1e-9).all()
    images = planted.reliability.groupby(["run", "split", "scaled"])["images"].sum()
    assert set(images) == set(IMAGES.values())


def test_runs_without_scores_give_empty_tables_with_their_columns() -> None:
    comparison = compare_runs([RunResult("ft-1", "ft", "missing")])
    assert (comparison.winners, comparison.warnings) == ([], [])
    for name, columns in COLUMNS.items():
        table = getattr(comparison, name)
        assert (list(table.columns), len(table)) == (list(columns), 0)


def test_compare_runs_has_subgroups_and_shift() -> None:
    def with_etiology(run: RunResult) -> RunResult:
        for table in run.scores.values():
            kinds = [f"bacteria_{i}" if i % 2 else f"virus_{i}" for i in range(len(table["file"]))]
            pairs = zip(kinds, table["y_true"], strict=True)
            names = [
                f"person{i // 2}_{kind}.jpeg" if y else f"IM-{i:04d}-0001.jpeg"
                for i, (kind, y) in enumerate(pairs)
            ]
            table["file"] = np.array(names, dtype=object)
        return run

    runs = [with_etiology(run) for run in grid([3.0, 1.0])]
    comparison = compare_runs(runs)
    found = comparison.subgroups.groupby(["split", "subgroup", "metric"])["run"].nunique()
    assert found.to_dict() == {
        (split, kind, metric): 2
        for split in SPLITS
        for kind in ("bacteria", "virus")
        for metric in ("auc", "sensitivity")
    }
    shift = comparison.shift.set_index(["split", "class"])["value"]
    for split in SPLITS:
        y = runs[0].scores[split]["y_true"]
        assert shift[split, "PNEUMONIA"] == pytest.approx(y.mean())
