"""Format the status of a sweep, or of all sweeps, as lines of text."""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from xray_hpc.count_text import format_count
from xray_hpc.monitoring.run_state import State
from xray_hpc.monitoring.sweep_status import RunStatus, SweepStatus
from xray_hpc.monitoring.terminal_table import GAP, Column, Screen, shorten, table
from xray_hpc.printable import printable
from xray_hpc.records.paths import display_path
from xray_hpc.records.run_flags import MEANINGS
from xray_hpc.records.run_record import Failure
from xray_hpc.slurm.units import compact_job_ids

MAX_ROWS = 40
MAX_REASON = 120
LIMITED = "! until the time limit of its job; the run then resumes from its last checkpoint"
# What to change before a run that ended in this way, which would otherwise fail again.
CHANGES = {
    Failure.NAN_LOSS: "launch with a lower train.learning_rate; resumed, it diverges again",
    Failure.GPU_OUT_OF_MEMORY: "launch with a smaller train.batch_size, or resume on a larger GPU",
    Failure.OUT_OF_MEMORY: "resume with a higher cluster.mem",
    Failure.TIME_LIMIT: "resume with a higher cluster.time",
    Failure.SETUP: "correct cluster.setup, then resume",
    Failure.BAD_DATA: "correct the input that the reason names, then resume",
    Failure.STORAGE: "make the storage usable, then resume",
    Failure.BUG: "correct the cause that the log shows, then resume",
}
# Most interesting first.
COLOURS = {
    State.RUNNING: "cyan",
    State.FAILED: "red",
    State.LOST: "red",
    State.DAMAGED: "red",
    State.UNREADABLE: "red",
    State.INTERRUPTED: "red",
    State.CANCELLED: "dim",
    State.PENDING: "yellow",
    State.CREATED: "dim",
    State.MISSING: "dim",
    State.FINISHED: "green",
}
INTEREST = list(COLOURS)
ENDED = (State.FAILED, State.LOST, State.DAMAGED, State.INTERRUPTED, State.CANCELLED)


def sweep_lines(status: SweepStatus, screen: Screen, rows: int | None) -> Iterator[str]:
    """Yield a summary of a sweep, the table of its runs, and what to do next.

    With more than ``rows`` runs, running and failed ones come first, and finished ones are not
    listed.
    """
    runs = status.runs
    counts = Counter(run.state for run in runs)
    yield _summary(status.sweep.name, counts, screen)
    if status.problem:
        yield screen.paint(screen.cut(status.problem), COLOURS[State.UNREADABLE])
    spent = f"{_hours(status.gpu_hours)} GPU-hours, " if _hours(status.gpu_hours) else ""
    bar = _bar(counts, screen) + GAP if screen.colour and runs else ""
    yield f"{bar}{spent}last change {_ago(status.touched)}"
    shown = _select(runs, rows)
    if shown:
        yield ""
        yield from table(_columns(shown), screen)
    if len(shown) < len(runs):
        rest = counts - Counter(run.state for run in shown)
        yield screen.cut(f"not listed: {', '.join(_words(rest))} (use --all)")
    if any(run.limited for run in shown):
        yield screen.cut(LIMITED)
    if advice := list(_advice(status)):
        yield ""
        yield from map(printable, advice)


def sweep_list_lines(sweeps: Sequence[SweepStatus], screen: Screen) -> Iterator[str]:
    """Yield a table of all sweeps, the one that changed last first."""
    sweeps = sorted(sweeps, key=lambda status: status.touched, reverse=True)
    counts = [Counter(run.state for run in status.runs) for status in sweeps]
    states = []
    for state in _in_order(COLOURS):
        cells = [str(count[state] or "") for count in counts]
        colours = [COLOURS[state]] * len(counts)
        states.append(Column(state.value, cells, right=True, rank=1, colours=colours))
    changes = ["?" if one.problem and not one.touched else _ago(one.touched) for one in sweeps]
    columns = [
        Column("sweep", [status.sweep.name for status in sweeps], least=12),
        Column("runs", [_run_count(status) for status in sweeps], right=True),
        *states,
        Column("GPU-hours", [_hours(status.gpu_hours) for status in sweeps], right=True, rank=2),
        Column("last change", changes, right=True),
    ]
    yield from table(columns, screen)
    for status in sweeps:
        if status.problem:
            line = screen.cut(f"{status.sweep.name}: {status.problem}")
            yield screen.paint(line, COLOURS[State.UNREADABLE])


def format_counts(states: Iterable[State]) -> str:
    """Return the states and how often each occurs: ``31 finished, 4 running``."""
    return ", ".join(_words(Counter(states)))


def format_duration(seconds: float) -> str:
    """Return ``45 s``, ``12 min``, ``3.2 h`` or ``2.1 d``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"


def _in_order(states: Iterable[State]) -> list[State]:
    """Return the states: finished, then the most interesting first."""
    return sorted(states, key=lambda state: (state is not State.FINISHED, INTEREST.index(state)))


def _words(counts: Counter[State], screen: Screen | None = None) -> Iterator[str]:
    screen = screen or Screen()
    for state in _in_order(counts):
        yield screen.paint(f"{counts[state]} {state.value}", COLOURS[state])


def _summary(name: str, counts: Counter[State], screen: Screen) -> str:
    runs = counts.total()
    many = f"{runs} run{'' if runs == 1 else 's'}"
    return f"{screen.paint(name, 'bold')}: {many}: {', '.join(_words(counts, screen))}"


def _bar(counts: Counter[State], screen: Screen) -> str:
    """Return a bar of the shares of the states, in their colours."""
    width, runs, bar, done, drawn = screen.bar, counts.total(), "", 0, 0
    for state in _in_order(counts):
        done += counts[state]
        end = min(max(round(width * done / runs), drawn + 1), width)
        bar += screen.paint(screen.stroke * (end - drawn), COLOURS[state])
        drawn = end
    return bar


def _select(runs: Sequence[RunStatus], rows: int | None) -> list[RunStatus]:
    if rows is None or len(runs) <= rows:
        return list(runs)
    notable = [run for run in runs if run.flags or run.state is not State.FINISHED]
    return sorted(notable, key=lambda run: INTEREST.index(run.state))[:rows]


def _columns(runs: Sequence[RunStatus]) -> list[Column]:
    colours = ["yellow" if run.flags else COLOURS[run.state] for run in runs]
    return [
        Column("run", [run.run for run in runs]),
        *_settings(runs),
        Column("state", [run.state.value for run in runs], colours=colours),
        Column("epoch", [_epoch(run) for run in runs], right=True),
        Column("val acc", [_ratio(run.val_accuracy) for run in runs], right=True, rank=1),
        Column("val AUC", [_ratio(run.val_auc) for run in runs], right=True, rank=3),
        Column("left", [_left(run) for run in runs], right=True, rank=2),
        Column("node", [run.node or "" for run in runs], rank=5),
        Column("restarts", [str(run.restarts or "") for run in runs], right=True, rank=6),
        Column("reason", [shorten(run.reason, MAX_REASON) for run in runs], least=10),
    ]


def _epoch(run: RunStatus) -> str:
    if run.epochs is None and run.epoch is None:
        return ""
    return f"{run.epoch or 0}/{'?' if run.epochs is None else run.epochs}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _left(run: RunStatus) -> str:
    if run.seconds_left is None:
        return ""
    left = format_duration(run.seconds_left)
    return f"{left}!" if run.limited else f"~{left}"


def _settings(runs: Sequence[RunStatus]) -> Iterator[Column]:
    """Yield a column for each override in which the runs differ, except the model."""
    words = [dict(word.lstrip("+").partition("=")[::2] for word in run.overrides) for run in runs]
    for key in dict.fromkeys(key for own in words for key in own if key != "model"):
        cells = [own.get(key, "") for own in words]
        yield Column(key.rpartition(".")[2], cells, rank=4, least=6)


def _hours(hours: float) -> str:
    return f"{hours:.1f}" if hours >= 0.05 else ""


def _run_count(status: SweepStatus) -> str:
    return "?" if status.problem and not status.runs else str(len(status.runs))


def _ago(stamp: float) -> str:
    return f"{format_duration(max(time.time() - stamp, 0))} ago" if stamp else "never"


def _changes(runs: Sequence[RunStatus]) -> Iterator[str]:
    """Yield what to change, for each class of failures and for each flag."""
    ended = (State.FAILED, State.INTERRUPTED)
    failures = Counter(run.failure for run in runs if run.state in ended)
    for failure, change in CHANGES.items():
        if count := failures[failure.value]:
            label = failure.value.replace("_", " ")
            yield f"change: {format_count(count, 'run')}, {label}: {change}"
    flags = Counter(flag for run in runs for flag in run.flags)
    for flag, meaning in MEANINGS.items():
        if count := flags[flag]:
            yield f"flag:   {format_count(count, 'run')}, {flag.label}: {meaning}"


def _advice(status: SweepStatus) -> Iterator[str]:
    held = {run.job: "Admin" in run.reason for run in status.runs if run.held and run.job}
    if mine := [job for job, by_admin in held.items() if not by_admin]:
        yield f"held:   scontrol release {shlex.quote(','.join(compact_job_ids(mine)))}"
    if admins := [job for job, by_admin in held.items() if by_admin]:
        yield f"held:   by an administrator; ask about {' '.join(compact_job_ids(admins))}"
    states = {run.state for run in status.runs}
    if status.failed_features_job is not None and states != {State.FINISHED}:
        see = display_path(status.failed_features_job)
        yield f"features job failed; runs compute the features themselves; see {see}"
    folder = shlex.quote(display_path(status.sweep.folder))
    if failed := [run.run for run in status.runs if run.state is State.FAILED]:
        yield f"log:    python -m xray_hpc.logs {shlex.quote(f'{status.sweep.name}/{failed[0]}')}"
    yield from _changes(status.runs)
    idle = not states & {State.PENDING, State.RUNNING}
    # The same run diverges again, whatever cluster.* says.
    resumable = {run.state for run in status.runs if run.failure != Failure.NAN_LOSS.value}
    if resumable & set(ENDED) or (idle and resumable - {State.FINISHED, State.UNREADABLE}):
        yield f"resume: python -m xray_hpc.launch --resume {folder}"
    report = status.sweep.report / "report.md"
    collected = os.path.isfile(report)  # unlike pathlib's, false where permission is denied
    if states == {State.FINISHED} and collected:
        yield f"report: {display_path(report)}"
    elif idle and State.FINISHED in states and not collected:
        yield f"report: none yet; python -m xray_hpc.collect {folder}"
