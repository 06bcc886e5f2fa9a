"""Find what weakens the conclusions of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from xray_hpc.count_text import format_count
from xray_hpc.records.run_flags import MEANINGS, Flag
from xray_hpc.records.run_record import Failure
from xray_hpc.report.comparison import ReportWarning
from xray_hpc.report.dataset_groups import share_validation_split
from xray_hpc.report.image_scores import ImageScores
from xray_hpc.report.metric_table import BASELINE
from xray_hpc.report.run_result import RunResult
from xray_hpc.statistics.paired_difference import detectable_difference

SATURATED = 0.99  # validation AUC
NOTABLE_SHIFT = 0.05  # of accuracy, sensitivity, specificity or prevalence
NOTABLE_AUC_SHIFT = 0.02
MANY_RUNS = 10
UNKNOWN_PATIENTS = "\0"


@dataclass(frozen=True)
class ComparedGroup:
    """What the warnings of a data set are judged on.

    Attributes:
        data: title of the data set.
        runs: its finished runs, best first.
        ranking, metrics, pairs: its rows of these tables.
        validation, test: the scores of the winner.
    """

    data: str
    runs: Sequence[RunResult]
    ranking: pd.DataFrame
    metrics: pd.DataFrame
    pairs: pd.DataFrame
    validation: ImageScores | None
    test: ImageScores | None


def group_warnings(group: ComparedGroup) -> list[ReportWarning]:
    """Return the warnings of one data set, the most serious first."""
    checks = (
        *(_patients, _splits, _flags, _baseline, _shift, _threshold, _prevalence, _saturated),
        *(_small_test, _one_seed, _optimism, _last_epoch),
    )
    return [warning for check in checks for warning in check(group)]


def diverged_warnings(runs: Sequence[RunResult]) -> list[ReportWarning]:
    """Return a warning that names the runs that diverged."""
    names = [
        run.name for run in runs if run.record and run.record.failure == Failure.NAN_LOSS.value
    ]
    if not names:
        return []
    text = (
        f"{format_count(len(names), 'run')} of {len(runs):,} diverged and {_are(names)} not "
        "compared: train with a lower learning rate."
    )
    return [ReportWarning("diverged", "", text, names)]


def _patients(group: ComparedGroup) -> Iterator[ReportWarning]:
    if group.test is not None and not group.test.patients_known:
        unknown = np.char.startswith(group.test.patients, UNKNOWN_PATIENTS).sum()
        yield _warning(
            group,
            "patients_unknown",
            f"The patient of {unknown:,} of {group.test.images:,} test images is unknown; each "
            "counts as a patient of its own, so intervals are too narrow if patients have several "
            "images.",
        )


def _splits(group: ComparedGroup) -> Iterator[ReportWarning]:
    if not share_validation_split(group.runs):
        yield _warning(
            group,
            "different_validation",
            f"The {len(group.runs):,} runs were validated on different images; their validation "
            "values, by which the best is chosen, compare only roughly.",
        )


def _flags(group: ComparedGroup) -> Iterator[ReportWarning]:
    for flag in Flag:
        if names := [run.name for run in group.runs if flag in run.flags]:
            verb = "is" if len(names) == 1 else "are"
            text = f"{len(names):,} of {len(group.runs):,} runs {verb} {flag.label}: "
            yield _warning(group, flag.value, f"{text}{MEANINGS[flag]}.", names)


def _baseline(group: ComparedGroup) -> Iterator[ReportWarning]:
    rows = group.metrics
    rows = rows[(rows["split"] == "test") & (rows["metric"] == "accuracy")]
    baseline = rows.loc[rows["run"] == BASELINE, "value"]
    low = group.ranking["test_accuracy_low"].iloc[0]
    if len(baseline) and not low > baseline.iloc[0]:
        value = group.ranking["test_accuracy"].iloc[0]
        yield _warning(
            group,
            "not_above_baseline",
            f"The best run's test accuracy of {value:.3f} (95 % interval from {low:.3f}) is not "
            f"clearly above {baseline.iloc[0]:.3f}, that of always predicting the most frequent "
            "class.",
            [group.ranking["run"].iloc[0]],
        )


def _shift(group: ComparedGroup) -> Iterator[ReportWarning]:
    first = group.ranking.iloc[0]
    for metric, least in (("auc", NOTABLE_AUC_SHIFT), ("accuracy", NOTABLE_SHIFT)):
        validation, high = first[f"validation_{metric}"], first[f"test_{metric}_high"]
        test = first[f"test_{metric}"]
        if validation - test > least and validation > high:
            name = "AUC" if metric == "auc" else metric
            yield _warning(
                group,
                f"{metric}_shift",
                f"The best run's {name} falls from {validation:.3f} on validation to {test:.3f} on "
                f"test images (95 % interval up to {high:.3f}): validation values do not predict "
                "test values, as the test images seem to differ from those of training.",
                [first["run"]],
            )


def _threshold(group: ComparedGroup) -> Iterator[ReportWarning]:
    rows = group.metrics
    rows = rows[(rows["run"] == group.ranking["run"].iloc[0]) & (rows["rule"] == "youden")]
    found = rows.set_index(["split", "metric"])["value"]
    if rows.empty:
        return
    falls = {
        metric: (found["validation", metric], found["test", metric])
        for metric in ("sensitivity", "specificity")
        if abs(found["validation", metric] - found["test", metric]) > NOTABLE_SHIFT
    }
    if falls:
        text = " and ".join(
            f"{metric} from {before:.3f} to {after:.3f}"
            for metric, (before, after) in falls.items()
        )
        threshold = rows["threshold"].iloc[0]
        yield _warning(
            group,
            "threshold_shift",
            f"A threshold chosen on validation does not carry over: at {threshold:.3f} (Youden) "
            f"the best run's values change from validation to test: {text}.",
            [group.ranking["run"].iloc[0]],
        )


def _prevalence(group: ComparedGroup) -> Iterator[ReportWarning]:
    if group.validation is None or group.test is None:
        return
    shares = [
        np.bincount(images.y, minlength=len(images.classes)) / images.images
        for images in (group.validation, group.test)
    ]
    largest = int(np.abs(shares[0] - shares[1]).argmax())
    before, after = (share[largest] for share in shares)
    if abs(before - after) > NOTABLE_SHIFT:
        yield _warning(
            group,
            "prevalence_shift",
            f"The class {group.test.classes[largest]} is {before:.1%} of the validation and "
            f"{after:.1%} of the test images; accuracy, PPV and NPV depend on it.",
        )


def _saturated(group: ComparedGroup) -> Iterator[ReportWarning]:
    areas = group.ranking["validation_auc"].dropna()
    saturated = int((areas >= SATURATED).sum())
    if len(areas) > 1 and saturated * 2 >= len(areas):
        test = group.ranking["test_auc"].dropna()
        yield _warning(
            group,
            "saturated_validation",
            f"{saturated:,} of {len(areas):,} runs have a validation AUC of at least {SATURATED} "
            f"(range {areas.min():.4f} to {areas.max():.4f}), so that it hardly orders them; the "
            f"test AUC ranges from {test.min():.3f} to {test.max():.3f}.",
        )


def _small_test(group: ComparedGroup) -> Iterator[ReportWarning]:
    areas = group.pairs[group.pairs["metric"] == "auc"]
    tied = areas[~areas["distinguishable"].astype(bool)]
    errors = ((tied["high"] - tied["low"]) / 2 / 1.96).dropna()
    errors = errors[errors > 0]
    if group.test is not None and len(errors):
        test, detectable = group.test, float(detectable_difference(float(errors.median())))
        patients = f" of {test.patient_count:,} patients" if test.patients_known else ""
        yield _warning(
            group,
            "small_test",
            f"{format_count(len(tied), 'run')} cannot be told apart from the best: the "
            f"{test.images:,} test images{patients} show a difference in AUC reliably (in 80 % of "
            f"cases, one comparison) from about {detectable:.3f} on.",
            list(tied["second"]),
        )


def _one_seed(group: ComparedGroup) -> Iterator[ReportWarning]:
    counts = group.ranking["setting"].value_counts()
    if len(counts) > 1 and counts.max() == 1:
        yield _warning(
            group,
            "one_seed",
            f"Each of the {len(counts):,} settings was trained with one seed; intervals and tests "
            "do not include the variation between seeds.",
        )


def _optimism(group: ComparedGroup) -> Iterator[ReportWarning]:
    settings = group.ranking["setting"].nunique()
    if settings >= MANY_RUNS:
        yield _warning(
            group,
            "selection_optimism",
            f"The best of {settings:,} settings was chosen on the validation images, so that its "
            "validation values are optimistic; its test values are not.",
            [group.ranking["run"].iloc[0]],
        )


def _last_epoch(group: ComparedGroup) -> Iterator[ReportWarning]:
    names = [run.name for run in group.runs if _is_improving(run)]
    if names:
        verb = "was" if len(names) == 1 else "were"
        yield _warning(
            group,
            "still_improving",
            f"{len(names):,} of {len(group.runs):,} runs {verb} still improving: the validation "
            "loss was lowest in the last epoch. More epochs may change the order.",
            names,
        )


def _is_improving(run: RunResult) -> bool:
    losses = run.epochs["val_loss"] if run.epochs and "val_loss" in run.epochs else np.empty(0)
    return len(losses) > 1 and bool(losses[-1] < np.nanmin(losses[:-1], initial=np.inf))


def _warning(group: ComparedGroup, code: str, text: str, runs: Sequence[str] = ()) -> ReportWarning:
    return ReportWarning(code, group.data, text, runs)


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
