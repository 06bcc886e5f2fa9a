"""Measure submitting a sweep to Slurm, by this project and by other methods."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks import official_plugin, paused_cluster, sweep_commands
from tests.benchmarks.markdown_table import TIMES, Table, number, times
from tests.benchmarks.paused_cluster import PausedCluster, SkippedError, start_paused_cluster
from tests.benchmarks.timing import Sample, log_progress, run_python, time_call

COLUMNS = ("method", "runs", *TIMES, "Slurm calls", "files", "MB")
# The official plugin is skipped if it would take more CPU seconds.
MAX_PLUGIN_SECONDS = 300.0
SCRIPT = "#!/bin/sh\n#SBATCH --time=60 --mem=1G --output=/dev/null\ntrue\n"


@dataclass(frozen=True)
class Submitted:
    """The cost of submitting, the calls of Slurm commands, and the written files and bytes."""

    sample: Sample
    calls: Counter[str]
    files: int
    size: int


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Yield one table: methods to submit sweeps of ``sweep_commands.SIZES``."""
    table = Table(
        "Submitting to Slurm",
        f"{sweep_commands.ABOUT} "
        "This project runs `python -m xray_hpc.launch -m ... cluster=slurm`, "
        "which composes, checks, names and freezes every run and submits a stage job, the runs and "
        "a collect job. Hydra's official plugin (`hydra/launcher=submitit_slurm`) launches an "
        "application with the same configuration in a separate environment; it is measured until "
        "its array is queued, after which it would wait for all jobs. The plain `sbatch` methods "
        "submit existing scripts. The official plugin and one `sbatch` per run are measured once. "
        f"MaxArraySize is {paused_cluster.ARRAY_SIZE}. {paused_cluster.ABOUT}",
        COLUMNS,
    )
    plugin = OfficialPlugin()
    try:
        for size in sweep_commands.SIZES:
            with start_paused_cluster(folder / f"submit-{size}") as cluster:
                table.rows += _rows(cluster, folder / f"submit-{size}", size, repeat, plugin)
        if remark := plugin.refused(folder / "submit-refused"):
            table.remarks.append(remark)
    except SkippedError as reason:
        table.rows.append((f"skipped: {reason}", *["-"] * (len(COLUMNS) - 1)))
    yield table


def _rows(
    cluster: PausedCluster, folder: Path, size: int, repeat: int, plugin: OfficialPlugin
) -> Iterator[Sequence[str]]:
    """Yield rows for ``size`` runs."""
    new, repeated, arrays = [], [], []
    for i in range(repeat):
        log_progress(f"{size} runs by this project and as plain arrays, {i + 1} of {repeat}")
        results = folder / f"ours-{i}"
        command = sweep_commands.command(results, size)
        launch = partial(run_python, "-m", *command, **cluster.environment)
        new.append(_submit(cluster, results, launch))
        repeated.append(_submit(cluster, results, launch))
        cluster.empty()
        arrays.append(_submit_scripts(cluster, folder / f"array-{i}", _arrays(size)))
    yield _row("this project", size, new)
    yield _row("this project, repeated (all are queued)", size, repeated)
    yield plugin.row(cluster, folder / "official", size)
    log_progress(f"{size} runs by one sbatch each")
    yield _row(
        "one `sbatch` per run", size, [_submit_scripts(cluster, folder / "each", [()] * size)]
    )
    yield _row("lower bound: one `sbatch` per array", size, arrays)


def _submit(cluster: PausedCluster, results: Path, call: Callable[[], object]) -> Submitted:
    calls, files, size = cluster.calls(), *_files_and_bytes(results)
    sample = time_call(call)
    files_now, size_now = _files_and_bytes(results)
    return Submitted(sample, cluster.calls() - calls, files_now - files, size_now - size)


def _submit_scripts(
    cluster: PausedCluster, folder: Path, options: Sequence[Sequence[str]]
) -> Submitted:
    """Submit a script with each of these options."""
    folder.mkdir()
    commands = []
    for i, arguments in enumerate(options):
        script = folder / f"{i}.sh"
        script.write_text(SCRIPT)
        commands.append(["sbatch", *arguments, str(script)])
    environment = cluster.environment

    def submit() -> None:
        for command in commands:
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)

    done = _submit(cluster, folder, submit)
    cluster.empty()
    return Submitted(done.sample, done.calls, *_files_and_bytes(folder))


def _arrays(size: int) -> list[tuple[str]]:
    starts = range(0, size, paused_cluster.ARRAY_SIZE)
    return [(f"--array=0-{min(paused_cluster.ARRAY_SIZE, size - start) - 1}",) for start in starts]


def _files_and_bytes(folder: Path) -> tuple[int, int]:
    """Return the number of files below the folder, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def _row(method: str, size: int, done: Sequence[Submitted]) -> Sequence[str]:
    last = done[-1]
    calls = ", ".join(f"{count:,} {name}" for name, count in last.calls.most_common())
    measured = times([one.sample for one in done])
    return (
        method,
        f"{size:,}",
        *measured,
        calls or "none",
        f"{last.files:,}",
        number(last.size / 1e6),
    )


class OfficialPlugin:
    """Hydra's official plugin, skipped for sweeps that would take too long."""

    def __init__(self) -> None:
        self._size, self._seconds = 0, 0.0

    def row(self, cluster: PausedCluster, results: Path, size: int) -> Sequence[str]:
        method, empty = "official plugin", ["-"] * (len(COLUMNS) - 2)
        expected = self._seconds * size / max(self._size, 1)
        if expected > MAX_PLUGIN_SECONDS:
            reason = f"{self._size:,} runs took {number(self._seconds)} CPU-s"
            return f"{method}, skipped: {reason}", f"{size:,}", *empty
        try:
            done, error = self._launch(cluster, results, size)
        except SkippedError as reason:
            return f"skipped: {reason}", f"{size:,}", *empty
        self._size, self._seconds = size, done.sample.cpu
        return _row(f"{method}: submits nothing ({error})" if error else method, size, [done])

    def refused(self, folder: Path) -> str | None:
        """Launch more runs than MaxArraySize, and describe the result."""
        if not self._size:
            return None
        size = sweep_commands.SIZES[0]
        with start_paused_cluster(folder, array_size=size // 2) as cluster:
            done, error = self._launch(cluster, folder / "official", size)
        return (
            f"With {size} runs and a MaxArraySize of {size // 2}, the official plugin composes all "
            f"runs, writes {done.files} files and submits nothing after "
            f'{number(done.sample.wall)} s ("{error}"). This project submits several arrays.'
        )

    def _launch(
        self, cluster: PausedCluster, results: Path, size: int
    ) -> tuple[Submitted, str | None]:
        """Launch; return the cost, and the error if nothing was submitted."""
        python = official_plugin.install()
        log_progress(f"{size} runs by the official plugin")
        errors: list[str | None] = []
        done = _submit(
            cluster,
            results,
            lambda: errors.append(official_plugin.launch(python, cluster, results, size)),
        )
        cluster.empty()
        return done, errors[0]
