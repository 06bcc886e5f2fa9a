"""What the page shows, and which runs its curves show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from xray_hpc.report.comparison import Comparison
from xray_hpc.report.page.miss_pictures import MissPicture
from xray_hpc.report.run_result import RunResult

MAX_CURVES = 30  # more curves are indistinguishable, and make the page slow
MAX_HIGHLIGHTED = 6  # with a color of their own until the reader selects others
MAX_DATA_SETS = 6  # with charts; tables show all


@dataclass(frozen=True)
class PageContent:
    """The content of ``report.html``.

    Attributes:
        sweep: name of the sweep.
        comparison: the compared runs.
        runs: all runs in launch order.
        epochs: ``run, epoch, train_accuracy, val_accuracy, train_loss, val_loss, val_auc``.
        roc: points of ROC curves: ``run, split, score_of, fpr, tpr, thresholds``.
        logs: relative paths of log files, by the names of runs without a result.
        inserts: HTML of the sections that other modules render, by the section's id: ``misses``,
            ``data``. The page shows it as it is.
        pictures: the worst misses of the winners, by the run's name; empty without images.
    """

    sweep: str
    comparison: Comparison
    runs: Sequence[RunResult]
    epochs: pd.DataFrame
    roc: pd.DataFrame
    logs: Mapping[str, str] = field(default_factory=dict)
    inserts: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, Sequence[MissPicture]] = field(default_factory=dict)

    def data_sets(self) -> list[str]:
        """Return the titles of the data sets in the order of the ranking."""
        return list(dict.fromkeys(self.comparison.ranking["data"]))

    def labels(self) -> dict[str, str]:
        """Return the labels of the ranked runs by name."""
        ranking = self.comparison.ranking
        return dict(zip(ranking["run"], ranking["label"], strict=True))

    def ranked(self, data: str) -> pd.DataFrame:
        """Return the rows of the ranking of one data set, best first."""
        ranking = self.comparison.ranking
        return ranking[ranking["data"] == data].sort_values("rank", kind="stable")


@dataclass(frozen=True)
class ShownRuns:
    """The runs of one data set that its charts show: the best ``MAX_CURVES``.

    Attributes:
        labels: their labels by name, best first; unique.
        total: number of finished runs.
    """

    labels: Mapping[str, str]
    total: int

    @property
    def domain(self) -> list[str]:
        """The labels, best first."""
        return list(self.labels.values())

    @property
    def highlighted(self) -> list[str]:
        """The labels of the runs that have a color before the reader selects others."""
        return self.domain[:MAX_HIGHLIGHTED]

    @property
    def note(self) -> str:
        """State which runs are shown, if not all are."""
        shown = len(self.labels)
        return f"The best {shown} of {self.total:,} runs are shown." if shown < self.total else ""


def shown_runs(ranked: pd.DataFrame) -> ShownRuns:
    """Return the best runs of a data set's :meth:`PageContent.ranked`."""
    best = ranked.head(MAX_CURVES)
    equal = best["label"].duplicated(keep=False)
    labels = best["label"].where(~equal, best["label"] + " (" + best["run"] + ")")
    return ShownRuns(dict(zip(best["run"], labels, strict=True)), len(ranked))
