"""The comparison of a sweep's runs: the tables that the page, the Markdown and the CSVs show.

Everything that a report shows of the runs' results is in one of these tables, and each table is a
CSV file beside the report, named as the attribute. ``data`` is the title of the data set and its
classes (:class:`~xray_hpc.report.dataset_groups.RunGroup`); runs on different images are compared
only within it. ``low`` and ``high`` are the limits of a 95 % interval clustered by patient, empty
where it cannot be estimated. ``split`` is ``validation`` or ``test``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Winner:
    """The best run of a data set by the selection rule, which never looks at test images.

    Attributes:
        data: title of the data set.
        run: name of the run.
        label: its model and swept values, for readers.
        rule: the selection rule, such as ``val_loss``.
        answer: the answer in two sentences: what won, by how much, and how sure that is.
        tied: names of the runs that cannot be told apart from it on the test images, itself not.
    """

    data: str
    run: str
    label: str
    rule: str
    answer: str
    tied: Sequence[str]


@dataclass(frozen=True)
class ReportWarning:
    """Something that weakens a conclusion.

    Attributes:
        code: stable name, such as ``saturated_validation``.
        data: title of the data set; empty: the whole sweep.
        text: the warning in one or two sentences, with its numbers.
        runs: names of the runs that it concerns; empty: all.
    """

    code: str
    data: str
    text: str
    runs: Sequence[str] = ()


@dataclass(frozen=True)
class Comparison:
    """The compared runs.

    Attributes:
        rule: the selection rule.
        winners: one per data set.
        warnings: the most serious first.
        ranking: one row per finished run, best first within its data: ``data, rank, run, label,
            setting, model``, one column per swept key (dotted), ``seed, selection`` (the value of
            the rule), then for the validation and test split ``{split}_{metric}``, and for test
            also ``..._low`` and ``..._high``; metrics are those of ``metrics`` at the fixed
            threshold; ``tied`` (cannot be told apart from the winner), ``difference, p_holm``
            (test AUC minus the winner's, and the adjusted p value).
        settings: one row per group of runs that differ only in their seed, if any has several:
            ``data, setting, runs, seeds`` and ``{split}_{metric}_mean`` and ``..._sd``.
        metrics: ``data, run, split, rule, threshold, metric, value, low, high, images, patients``.
            ``rule`` is the threshold rule (``fixed``, ``youden``, ``sensitivity``,
            ``specificity``), empty for metrics without a threshold. ``metric`` is one of ``auc,
            average_precision, accuracy, balanced_accuracy, sensitivity, specificity, ppv, npv, f1,
            mcc, loss, brier``; with more than two classes also ``auc_micro``. The run ``(majority
            class)`` is the baseline that predicts the most frequent validation class.
        classes: the same of each class against the rest: ``data, run, split, class, metric, value,
            low, high, images``.
        pairs: ``data, first, second, metric (auc or accuracy), difference, low, high, statistic, p,
            p_holm, distinguishable``: the winner (first) against every other run on test images.
        pr: points of precision-recall curves: ``run, model, split, score_of, recall, precision,
            threshold``.
        confusion: ``data, run, split, rule, true, predicted, images``.
        calibration: ``data, run, split, scaled, temperature, brier, ece, loss``; ``scaled`` is
            whether the temperature, fitted on validation images, is applied.
        reliability: ``data, run, split, scaled, bin, low, high, images, mean_score, positive_share,
            positive_low, positive_high``.
        importance: ``data, key, importance, runs``: the share of the variance of the selection
            value over the runs that each swept key explains.
        misses: images that runs miss on the test and validation split, at the fixed threshold, the
            one missed by most runs first: ``data, split, file, patient, class, missed_by, runs,
            mean_score``.
        subgroups: ``data, run, split, column, subgroup, metric, value, low, high, images,
            patients``.
        shift: ``data, quantity, split, class, value``: prevalence, mean and contrast of grey values
            by split; empty class: all.
    """

    rule: str
    winners: Sequence[Winner]
    warnings: Sequence[ReportWarning]
    ranking: pd.DataFrame
    settings: pd.DataFrame
    metrics: pd.DataFrame
    classes: pd.DataFrame
    pairs: pd.DataFrame
    pr: pd.DataFrame
    confusion: pd.DataFrame
    calibration: pd.DataFrame
    reliability: pd.DataFrame
    importance: pd.DataFrame
    misses: pd.DataFrame
    subgroups: pd.DataFrame
    shift: pd.DataFrame
