"""A sweep as it stands, or all sweeps, in lines of text."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from xray_hpc.cluster.announce import short
from xray_hpc.cluster.states import State
from xray_hpc.cluster.table import Column, Screen, table
from xray_hpc.cluster.watching import WatchedRun, WatchedSweep

ROWS = 40
WHY_LETTERS = 120
BAR_LETTERS = 60
LIMITED = "! until its job's time limit; it goes on from its last epoch after that"
# In the order of interest.
COLOURS = {
    State.RUNNING: "cyan",
    State.FAILED: "red",
    State.LOST: "red",
    State.DAMAGED: "red",
    State.INTERRUPTED: "red",
    State.CANCELLED: "dim",
    State.PENDING: "yellow",
    State.CREATED: "dim",
    State.MISSING: "dim",
    State.FINISHED: "green",
}
INTEREST = list(COLOURS)
OVER = (State.FAILED, State.LOST, State.DAMAGED, State.INTERRUPTED, State.CANCELLED)


def of_sweep(watched: WatchedSweep, screen: Screen, rows: int | None) -> Iterator[str]:
    """A sweep: a line in sum, a table of its runs, ``rows`` at most, and what to do next.

    With more runs than that, those that run or failed come first, and those that finished are
    not listed.
    """
    runs = watched.runs
    yield screen.cut(_sum(watched))
    if screen.colour and runs:
        yield _bar(runs, min(BAR_LETTERS, screen.width or BAR_LETTERS), screen)
    shown = _chosen(runs, rows)
    if shown:
        yield ""
        yield from table(_columns(shown), screen)
    if len(shown) < len(runs):
        rest = Counter(run.state for run in runs) - Counter(run.state for run in shown)
        yield screen.cut(f"not listed: {_counted(rest)} (--all lists them)")
    if any(run.limited for run in shown):
        yield screen.cut(LIMITED)
    advice = list(_advice(watched))
    if advice:
        yield ""
        yield from advice


def of_all(sweeps: Sequence[WatchedSweep], screen: Screen) -> Iterator[str]:
    """A line on each sweep, that with the newest change first."""
    sweeps = sorted(sweeps, key=lambda watched: watched.touched, reverse=True)
    counts = [Counter(run.state for run in watched.runs) for watched in sweeps]
    states = [
        Column(
            state.value,
            [str(count[state] or "") for count in counts],
            right=True,
            rank=1,
            colours=[COLOURS[state]] * len(counts),
        )
        for state in sorted(COLOURS, key=lambda state: state is not State.FINISHED)
    ]
    columns = [
        Column("sweep", [watched.sweep.name for watched in sweeps], least=12),
        Column("runs", [str(len(watched.runs)) for watched in sweeps], right=True),
        *states,
        Column("GPU-hours", [_hours(watched.gpu_hours) for watched in sweeps], right=True, rank=2),
        Column("last change", [_ago(watched.touched) for watched in sweeps], right=True),
    ]
    yield from table(columns, screen)


def counted(runs: Iterable[WatchedRun]) -> str:
    """``31 finished, 4 running``."""
    return _counted(Counter(run.state for run in runs))


def duration(seconds: float) -> str:
    """Two or three digits in the unit that suits: ``45 s``, ``12 min``, ``3.2 h``, ``2.1 d``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"


def _counted(counts: Counter[State]) -> str:
    order = sorted(counts, key=lambda state: (state is not State.FINISHED, INTEREST.index(state)))
    return ", ".join(f"{counts[state]} {state.value}" for state in order if counts[state])


def _sum(watched: WatchedSweep) -> str:
    runs = len(watched.runs)
    parts = [f"{watched.sweep.name}: {runs} run{'s' if runs != 1 else ''}"]
    if runs > 1:
        parts[0] += f", {counted(watched.runs)}"
    if watched.gpu_hours:
        parts.append(f"{_hours(watched.gpu_hours)} GPU-hours")
    return "; ".join([*parts, f"last change {_ago(watched.touched)}"])


def _bar(runs: Sequence[WatchedRun], width: int, screen: Screen) -> str:
    """The shares of the states, a colour each."""
    counts, bar, done, drawn = Counter(run.state for run in runs), "", 0, 0
    for state in sorted(counts, key=lambda s: (s is not State.FINISHED, INTEREST.index(s))):
        done += counts[state]
        end = max(round(width * done / len(runs)), drawn + 1)
        bar += screen.paint("━" * (min(end, width) - drawn), COLOURS[state])
        drawn = min(end, width)
    return bar


def _chosen(runs: Sequence[WatchedRun], rows: int | None) -> list[WatchedRun]:
    if rows is None or len(runs) <= rows:
        return list(runs)
    going = [run for run in runs if run.state is not State.FINISHED]
    return sorted(going, key=lambda run: INTEREST.index(run.state))[:rows]


def _columns(runs: Sequence[WatchedRun]) -> list[Column]:
    return [
        Column("run", [run.run for run in runs]),
        Column(
            "state",
            [run.state.value for run in runs],
            colours=[COLOURS[run.state] for run in runs],
        ),
        Column("epoch", [_epoch(run) for run in runs], right=True),
        Column("val acc", [_ratio(run.val_accuracy) for run in runs], right=True, rank=1),
        Column("val AUC", [_ratio(run.val_auc) for run in runs], right=True, rank=3),
        Column("left", [_left(run) for run in runs], right=True, rank=2),
        Column("node", [run.node or "" for run in runs], rank=5),
        Column("restarts", [str(run.restarts or "") for run in runs], right=True, rank=6),
        Column("why", [run.why[:WHY_LETTERS] for run in runs], least=10),
        Column("overrides", [_words(run) for run in runs], rank=4, least=10),
    ]


def _epoch(run: WatchedRun) -> str:
    if run.epochs is None and run.epoch is None:
        return ""
    return f"{run.epoch or 0}/{'?' if run.epochs is None else run.epochs}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _left(run: WatchedRun) -> str:
    if run.seconds_left is None:
        return ""
    left = duration(run.seconds_left)
    return f"{left}!" if run.limited else f"~{left}"


def _words(run: WatchedRun) -> str:
    """``lr=1e-3 size=64`` of ``train.lr=1e-3 data.size=64``."""
    split = [word.partition("=") for word in run.overrides]
    return " ".join(f"{key.rpartition('.')[2]}{sign}{value}" for key, sign, value in split)


def _hours(hours: float) -> str:
    return f"{hours:.1f}" if hours >= 0.05 else ""


def _ago(stamp: float) -> str:
    return f"{duration(max(time.time() - stamp, 0))} ago" if stamp else "never"


def _advice(watched: WatchedSweep) -> Iterator[str]:
    over = [run for run in watched.runs if run.state in OVER]
    folder = shlex.quote(short(watched.sweep.folder))
    if failed := [run for run in over if run.state is State.FAILED]:
        yield f"look: python -m xray_hpc.logs {watched.sweep.name}/{failed[0].run}"
    if over:
        yield f"run what did not finish: python -m xray_hpc.launch --resume {folder}"
    elif all(run.state is State.FINISHED for run in watched.runs):
        yield f"compare them: {short(watched.sweep.report / 'report.md')}"
