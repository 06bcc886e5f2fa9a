"""Format numbers, statuses and failure reasons for the terminal and the report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xray_hpc.count_text import format_count
from xray_hpc.report.comparison import ReportWarning
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.typed_csv import row_count

MAX_NAMED = 5  # runs in a note; runs.csv has all
STATUSES = (
    *("finished", "running", "created", "interrupted", "cancelled", "failed", "lost"),
    *("damaged", "unreadable", "missing"),
)
DEFAULT_REASONS = {
    "running": "running",
    "created": "not started",
    "interrupted": "stopped before it finished",
    "cancelled": "cancelled",
    "lost": "no process holds the run",
    "failed": "failed without an error message",
}


def format_ratio(value: float | None) -> str:
    """Format with three decimals; ``-`` if undefined."""
    return "-" if value is None else f"{value:.3f}"


def number_text(value: float) -> str:
    """Format with three decimals; ``-`` for NaN."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def estimate_text(row: Mapping[Any, Any], column: str) -> str:
    """Format the estimate of a table's row: ``0.981 (0.970 to 0.989)``; ``-`` if undefined."""
    value, low, high = (row[f"{column}{end}"] for end in ("", "_low", "_high"))
    return number_text(value) if math.isnan(low) else f"{value:.3f} ({low:.3f} to {high:.3f})"


def format_integer(value: float | None) -> str:
    """Format an integer with thousands separators; ``-`` if unknown."""
    return "-" if value is None else f"{value:,.0f}"


def format_duration(seconds: float | None) -> str:
    """Format a duration with a suitable unit: ``12 s``, ``3.4 min``, ``1.2 h``."""
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def format_hours(value: float | None) -> str:
    """Format hours with three significant digits: ``0.0251``, ``4.2``, ``1,250``."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def format_mib(mib: float | None) -> str:
    """Format MiB in Slurm's notation: ``350M``, ``3.1G``."""
    if mib is None:
        return "-"
    return f"{mib:.0f}M" if mib < 1024 else f"{mib / 1024:.3g}G"


def format_percent(share: float | None) -> str:
    """Format a share as a whole percentage: ``50%`` for 0.5."""
    return "-" if share is None else f"{share:.0%}"


def format_failures(counts: Mapping[str, int]) -> str:
    """Format counts of failure classes, most frequent first: ``2 preempted, 1 time limit``."""
    ordered = sorted((-n, name.replace("_", " ")) for name, n in counts.items() if n)
    return ", ".join(f"{-n:,} {name}" for n, name in ordered)


def format_best_epoch(run: RunResult) -> str:
    """Format the epoch of the final weights: ``10 of 10`` is the last."""
    if run.metrics is None:
        return "- of -"
    return f"{format_integer(run.metrics.best_epoch)} of {format_integer(run.metrics.epochs)}"


def named_runs(warning: ReportWarning) -> str:
    """Return the names of the runs of a warning, of many the first: ``ft-1, ft-2 and 3 more``."""
    names = list(warning.runs)
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def status_summary(runs: Sequence[RunResult]) -> str:
    """Count runs by status: ``4 runs: 2 finished (1 flagged), 1 failed, 1 missing``."""
    counts = Counter(run.status for run in runs)
    parts = [f"{counts[status]:,} {status}" for status in STATUSES if counts[status]]
    if flagged := sum(run.finished and bool(run.flags) for run in runs):
        parts[0] += f" ({flagged:,} flagged)"
    return f"{format_count(len(runs), 'run')}: {', '.join(parts)}"


def unfinished_runs(runs: Iterable[RunResult]) -> list[RunResult]:
    """Return the runs without a result to compare, in the given order."""
    return [run for run in runs if not run.finished]


def status_reason(run: RunResult) -> str:
    """Explain in one line why a run has no result."""
    reason = run.error or DEFAULT_REASONS[run.status]
    earlier, failure = format_failures(run.usage.restarts), run.record and run.record.failure
    attempt = [f"in attempt {run.usage.attempts} (previously {earlier})"] if earlier else []
    if run.status in ("running", "created", "lost"):
        return ", ".join([reason, *_progress(run), *attempt])
    if failure:
        return " ".join([failure.replace("_", " "), *attempt]) + f": {reason}"
    return ", ".join([reason, *attempt])


def _progress(run: RunResult) -> list[str]:
    parts = []
    if run.epochs is not None:
        done, planned = row_count(run.epochs), run.config.get("train.epochs")
        parts.append(f"{done} of {planned} epochs" if planned else f"{done} epochs")
    if run.record:
        parts += [f"on {run.record.node}"] if run.record.node else []
        parts += [f"job {run.record.job_id}"] if run.record.job_id else []
    return parts
