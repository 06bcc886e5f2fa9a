"""Compare the runs of a sweep: choose the best on validation, and say how sure that is on test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from xray_hpc.records.paths import SPLITS
from xray_hpc.report import metric_table, pair_table, score_tables, shift, subgroups
from xray_hpc.report.answer import answer_text
from xray_hpc.report.calibration_table import CALIBRATION, RELIABILITY, calibration_tables
from xray_hpc.report.comparison import Comparison, ReportWarning, Winner
from xray_hpc.report.dataset_groups import RunGroup, group_runs
from xray_hpc.report.image_scores import ImageScores, stack_scores
from xray_hpc.report.ranking_table import ranking_table, setting_table, with_pairs
from xray_hpc.report.report_warnings import ComparedGroup, diverged_warnings, group_warnings
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import SEED, compared_keys, run_labels
from xray_hpc.statistics.importance import explained_shares

DETAILED_RUNS = 100
"""Of each data set, so many of the best runs have curves, calibration and operating points."""

IMPORTANCE = ("data", "key", "importance", "runs")
COLUMNS: dict[str, Sequence[str]] = {
    "ranking": ("data", "rank", "run", "label", "setting", "model", "seed", "selection"),
    "settings": ("data", "setting", "runs", "seeds"),
    "metrics": metric_table.COLUMNS,
    "classes": score_tables.CLASSES,
    "pairs": pair_table.COLUMNS,
    "pr": score_tables.PR,
    "confusion": score_tables.CONFUSION,
    "calibration": CALIBRATION,
    "reliability": RELIABILITY,
    "importance": IMPORTANCE,
    "misses": score_tables.MISSES,
    "subgroups": subgroups.COLUMNS,
    "shift": shift.COLUMNS,
}
"""The tables of a comparison, and the columns that each has even if it is empty."""


def compare_runs(runs: Sequence[RunResult], rule: str = "val_loss") -> Comparison:
    """Compare the finished runs of each data set.

    Args:
        runs: all runs of a sweep, with their scores.
        rule: the selection rule, a metric of the validation images.
    """
    keys = compared_keys(runs)
    labels = run_labels(runs, keys)
    groups = [_GroupComparison(group, labels, keys, rule) for group in group_runs(runs)]
    groups = [group for group in groups if group.is_scored]
    parts = [group.tables() for group in groups]
    tables = {name: _concatenated(name, [part[name] for part in parts]) for name in COLUMNS}
    warnings = [warning for group in groups for warning in group.warnings]
    winners = [group.winner for group in groups]
    return Comparison(rule, winners, [*diverged_warnings(runs), *warnings], **tables)


class _GroupComparison:
    """Compares the runs of one data set."""

    def __init__(
        self, group: RunGroup, labels: dict[str, str], keys: Sequence[str], rule: str
    ) -> None:
        self.data, self.classes, self.rule = group.title, group.classes, rule
        self.keys = keys
        self.stacks = {split: stack_scores(group.runs, split, group.classes) for split in SPLITS}
        scored = {name for stack in self.stacks["test"] for name in stack.runs}
        self.runs = [run for run in group.runs if run.name in scored]
        if self.is_scored:
            self._compare(labels)

    @property
    def is_scored(self) -> bool:
        """Whether there are runs to compare."""
        return bool(self.runs)

    def _compare(self, labels: dict[str, str]) -> None:
        every = [stack for split in SPLITS for stack in self.stacks[split]]
        metrics = pd.concat([metric_table.metric_table(self.data, stack) for stack in every])
        ranking = ranking_table(self.data, self.runs, metrics, labels, self.keys, self.rule)
        names = list(ranking["run"])
        self.pairs = pair_table.pair_table(self.data, self.stacks["test"], names[0])
        self.ranking = with_pairs(ranking, self.pairs)
        self.detailed = {
            split: [stack.of(names[:DETAILED_RUNS]) for stack in self.stacks[split]]
            for split in SPLITS
        }
        self.detailed = {
            split: [stack for stack in stacks if stack.runs]
            for split, stacks in self.detailed.items()
        }
        place = {name: i for i, name in enumerate(names)}
        ordered = metrics.assign(place=metrics["run"].map(place))
        ordered = ordered.sort_values(["split", "place"], kind="stable").drop(columns="place")
        self.metrics = pd.concat([ordered, *self._operating_points(), *self._baseline()])

    def _operating_points(self) -> list[pd.DataFrame]:
        if len(self.classes) != 2:
            return []
        test = self.detailed["test"]
        return [
            metric_table.operating_points(self.data, stack, test)
            for stack in self.detailed["validation"]
        ]

    def _winners_scores(self, split: str) -> ImageScores | None:
        name = self.ranking["run"].iloc[0]
        return next((stack for stack in self.stacks[split] if name in stack.runs), None)

    def _baseline(self) -> list[pd.DataFrame]:
        validation, test = map(self._winners_scores, SPLITS)
        if validation is None or test is None:
            return []
        return [metric_table.baseline_table(self.data, validation, test)]

    @property
    def warnings(self) -> list[ReportWarning]:
        """The warnings of the data set."""
        place = {name: i for i, name in enumerate(self.ranking["run"])}
        return group_warnings(
            ComparedGroup(
                self.data,
                sorted(self.runs, key=lambda run: place[run.name]),
                self.ranking,
                self.metrics,
                self.pairs,
                *map(self._winners_scores, SPLITS),
            )
        )

    @property
    def winner(self) -> Winner:
        """The best run."""
        first = self.ranking.iloc[0]
        return Winner(
            data=self.data,
            run=first["run"],
            label=first["label"],
            rule=self.rule,
            answer=answer_text(self.ranking, self.pairs, self.rule),
            tied=list(self.ranking.loc[self.ranking["tied"], "run"]),
        )

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the data set's rows of every table."""
        stacks = [stack for split in SPLITS for stack in self.detailed[split]]
        models = {run.name: run.model for run in self.runs}
        thresholds = self._thresholds()
        details = [self.detailed[split] for split in SPLITS]
        calibration, reliability = calibration_tables(self.data, *details)
        points = [
            part
            for stack in stacks
            for part in score_tables.precision_recall_tables(self.data, stack, models)
        ]
        rows: dict[str, list[dict[str, Any]]] = {
            "classes": [
                row for stack in stacks for row in score_tables.class_rows(self.data, stack)
            ],
            "confusion": [
                row
                for stack in stacks
                for row in score_tables.confusion_rows(self.data, stack, thresholds)
            ],
            "calibration": calibration,
            "reliability": reliability,
        }
        every = [stack for split in SPLITS for stack in self.stacks[split]]
        return {
            **{name: pd.DataFrame(found) for name, found in rows.items()},
            "ranking": self.ranking,
            "settings": setting_table(self.ranking),
            "metrics": self.metrics,
            "pairs": self.pairs,
            "pr": pd.concat(points),
            "importance": self._importance(),
            "misses": score_tables.miss_rows(self.data, every),
            "subgroups": pd.concat([subgroups.subgroup_table(self.data, part) for part in stacks]),
            "shift": self._shift(),
        }

    def _thresholds(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {"fixed": {}}
        if len(self.classes) == 2:
            for stack in self.detailed["validation"]:
                for rule, by_run in metric_table.validation_thresholds(stack).items():
                    found.setdefault(rule, {}).update(by_run)
        return found

    def _shift(self) -> pd.DataFrame:
        found = map(self._winners_scores, SPLITS)
        return shift.shift_table(self.data, [images for images in found if images is not None])

    def _importance(self) -> pd.DataFrame:
        keys = [key for key in ("model", *self.keys, SEED) if key in self.ranking]
        values = {key: self.ranking[key].tolist() for key in dict.fromkeys(keys)}
        shares = explained_shares(values, self.ranking["selection"].tolist())
        table = pd.DataFrame(
            {
                "data": self.data,
                "key": list(shares),
                "importance": list(shares.values()),
                "runs": int(self.ranking["selection"].notna().sum()),
            }
        )
        return table.sort_values("importance", ascending=False, kind="stable")


def _concatenated(name: str, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS[name]))
    return pd.concat(parts, ignore_index=True)
