"""Numbers and statuses in words, for the terminal and the report alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from xray_hpc.report.csv_columns import height
from xray_hpc.report.run_result import RunResult
from xray_hpc.text import format_count

STATUSES = (
    *("finished", "running", "created", "interrupted", "cancelled", "failed", "lost"),
    *("damaged", "missing"),
)
UNEXPLAINED = {
    "running": "running",
    "created": "not started",
    "interrupted": "stopped before its end",
    "cancelled": "cancelled",
    "lost": "nothing runs it any more",
    "failed": "failed, and left no reason",
}


def ratio(value: float | None) -> str:
    """Three decimals; ``-`` for what is undefined."""
    return "-" if value is None else f"{value:.3f}"


def count(value: float | None) -> str:
    """A whole number with thousands separated; ``-`` for what is not known."""
    return "-" if value is None else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Two or three digits in the unit that suits: ``12 s``, ``3.4 min``, ``1.2 h``."""
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def hours(value: float | None) -> str:
    """Hours in three digits, with thousands separated: ``0.0251``, ``4.2``, ``1,250``."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def memory(mib: float | None) -> str:
    """MiB in two or three digits, as Slurm has them: ``350M``, ``3.1G``."""
    if mib is None:
        return "-"
    return f"{mib:.0f}M" if mib < 1024 else f"{mib / 1024:.3g}G"


def percent(share: float | None) -> str:
    """A share in whole percent: ``0.5`` is ``50%``."""
    return "-" if share is None else f"{share:.0%}"


def causes(counts: Mapping[str, int]) -> str:
    """Failure classes and how often: ``2 preempted, 1 time limit``; the most frequent first."""
    said = sorted((-n, name.replace("_", " ")) for name, n in counts.items() if n)
    return ", ".join(f"{-n:,} {name}" for n, name in said)


def kept_epoch(run: RunResult) -> str:
    """Which epoch's weights were kept, counted from 1 for people: ``10 of 10`` is the last."""
    if run.metrics is None:
        return "- of -"
    return f"{count(run.metrics.best_epoch + 1)} of {count(run.metrics.epochs)}"


def misses(run: RunResult, split: str, kind: str) -> str:
    """The misses among the images that could be missed so: ``3 of 80``.

    ``kind`` is ``false_negatives`` (of the positive images) or ``false_positives``.
    """
    hit = "true_positives" if kind == "false_negatives" else "true_negatives"
    missed, hits = run.measure(split, kind), run.measure(split, hit)
    if missed is None or hits is None:
        return "-"
    return f"{count(missed)} of {count(missed + hits)}"


def standing(runs: Sequence[RunResult]) -> str:
    """How many runs stand where: ``4 runs: 2 finished, 1 failed, 1 missing``."""
    counts = Counter(run.status for run in runs)
    parts = [f"{counts[status]:,} {status}" for status in STATUSES if counts[status]]
    return f"{format_count(len(runs), 'run')}: {', '.join(parts)}"


def unfinished(runs: Iterable[RunResult]) -> list[RunResult]:
    """Runs without a result to compare, in the order given."""
    return [run for run in runs if not run.finished]


def reason(run: RunResult) -> str:
    """Why a run has no result, in one line."""
    said = run.error or UNEXPLAINED[run.status]
    before, failure = causes(run.usage.restarts), run.record and run.record.failure
    attempts = [f"in try {run.usage.attempts} (before it: {before})"] if before else []
    if run.status in ("running", "created", "lost"):
        return ", ".join([said, *_whereabouts(run), *attempts])
    if failure:
        return " ".join([failure.replace("_", " "), *attempts]) + f": {said}"
    return ", ".join([said, *attempts])


def _whereabouts(run: RunResult) -> list[str]:
    said = []
    if run.epochs is not None:
        done, of = height(run.epochs), run.config.get("train.epochs")
        said.append(f"{done} of {of} epochs" if of else f"{done} epochs")
    if run.record:
        said += [f"on {run.record.node}"] if run.record.node else []
        said += [f"job {run.record.job_id}"] if run.record.job_id else []
    return said
