"""How long it takes to get a sweep into Slurm's queue: by this project, and in other ways."""

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
from tests.benchmarks.timing import Sample, progress, python, timed

COLUMNS = ("way", "runs", *TIMES, "Slurm calls", "files", "MB")
# The official plugin is not tried where it would take more CPU seconds than this.
PATIENCE_SECONDS = 300.0
SCRIPT = "#!/bin/sh\n#SBATCH --time=60 --mem=1G --output=/dev/null\ntrue\n"


@dataclass(frozen=True)
class Submitted:
    """What it took to submit, and what was asked of Slurm and written to files by that."""

    sample: Sample
    calls: Counter[str]
    files: int
    size: int


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """One table: the ways to submit sweeps of ``sweep_commands.SIZES``."""
    table = Table(
        "Submitting to Slurm",
        f"{sweep_commands.ABOUT} "
        "Of this project it is `python -m xray_hpc.launch -m ... cluster=slurm`, "
        "whole: start, compose, check, name and freeze every run, submit a stage job, the runs and "
        "a collect job. Hydra's official plugin (`hydra/launcher=submitit_slurm`) launches an "
        "application over the same configuration, in an environment of its own; timed until its "
        "array is in the queue, where it would stay on until all jobs have ended. The bare ways "
        "submit scripts that are there already. The official plugin and one `sbatch` a run are "
        f"timed once. MaxArraySize is {paused_cluster.ARRAY_SIZE}. {paused_cluster.ABOUT}",
        COLUMNS,
    )
    plugin = _Plugin()
    try:
        for size in sweep_commands.SIZES:
            with start_paused_cluster(folder / f"submit-{size}") as cluster:
                table.rows += _rows(cluster, folder / f"submit-{size}", size, repeat, plugin)
        if remark := plugin.refused(folder / "submit-refused"):
            table.remarks.append(remark)
    except SkippedError as why:
        table.rows.append((f"left out: {why}", *["-"] * (len(COLUMNS) - 1)))
    yield table


def _rows(
    cluster: PausedCluster, folder: Path, size: int, repeat: int, plugin: _Plugin
) -> Iterator[Sequence[str]]:
    """The ways to submit ``size`` runs; those that leave the queue full of jobs come last."""
    new, again, bare = [], [], []
    for i in range(repeat):
        progress(f"{size} runs by this project and as bare arrays, {i + 1} of {repeat}")
        results = folder / f"ours-{i}"
        words = sweep_commands.command(results, size)
        launch = partial(python, "-m", *words, **cluster.environment)
        new.append(_submit(cluster, results, launch))
        again.append(_submit(cluster, results, launch))
        cluster.empty()
        bare.append(_bare(cluster, folder / f"array-{i}", _arrays(size)))
    yield _row("this project", size, new)
    yield _row("this project, the same again (all wait)", size, again)
    yield plugin.row(cluster, folder / "official", size)
    progress(f"{size} runs by one sbatch each")
    yield _row("one `sbatch` a run", size, [_bare(cluster, folder / "each", [()] * size)])
    yield _row("floor: one `sbatch` an array", size, bare)


def _submit(cluster: PausedCluster, results: Path, call: Callable[[], object]) -> Submitted:
    calls, files, size = cluster.calls(), *_written(results)
    sample = timed(call)
    files_now, size_now = _written(results)
    return Submitted(sample, cluster.calls() - calls, files_now - files, size_now - size)


def _bare(cluster: PausedCluster, folder: Path, options: Sequence[Sequence[str]]) -> Submitted:
    """One ``sbatch`` of a script of its own for each of these options."""
    folder.mkdir()
    commands = []
    for i, words in enumerate(options):
        script = folder / f"{i}.sh"
        script.write_text(SCRIPT)
        commands.append(["sbatch", *words, str(script)])
    environment = cluster.environment

    def submit() -> None:
        for command in commands:
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)

    done = _submit(cluster, folder, submit)
    cluster.empty()
    return Submitted(done.sample, done.calls, *_written(folder))


def _arrays(size: int) -> list[tuple[str]]:
    starts = range(0, size, paused_cluster.ARRAY_SIZE)
    return [(f"--array=0-{min(paused_cluster.ARRAY_SIZE, size - start) - 1}",) for start in starts]


def _written(folder: Path) -> tuple[int, int]:
    """The files below the folder, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def _row(way: str, size: int, done: Sequence[Submitted]) -> Sequence[str]:
    last = done[-1]
    calls = ", ".join(f"{count:,} {name}" for name, count in last.calls.most_common())
    spent = times([one.sample for one in done])
    return way, f"{size:,}", *spent, calls or "none", f"{last.files:,}", number(last.size / 1e6)


class _Plugin:
    """Hydra's official plugin, tried as long as it is quick enough."""

    def __init__(self) -> None:
        self._size, self._seconds = 0, 0.0

    def row(self, cluster: PausedCluster, results: Path, size: int) -> Sequence[str]:
        way, nothing = "official plugin", ["-"] * (len(COLUMNS) - 2)
        expected = self._seconds * size / max(self._size, 1)
        if expected > PATIENCE_SECONDS:
            took = f"{self._size:,} runs took {number(self._seconds)} CPU-s"
            return f"{way}, not tried: {took}", f"{size:,}", *nothing
        try:
            done, refusal = self._launch(cluster, results, size)
        except SkippedError as why:
            return f"left out: {why}", f"{size:,}", *nothing
        self._size, self._seconds = size, done.sample.cpu
        return _row(f"{way}: submits nothing ({refusal})" if refusal else way, size, [done])

    def refused(self, folder: Path) -> str | None:
        """What it makes of more runs than the cluster takes in an array."""
        if not self._size:
            return None
        size = sweep_commands.SIZES[0]
        with start_paused_cluster(folder, array_size=size // 2) as cluster:
            done, refusal = self._launch(cluster, folder / "official", size)
        return (
            f"More runs than MaxArraySize, here {size} where it is {size // 2}: the official "
            f"plugin composes all, writes {done.files} files and submits nothing "
            f'("{refusal}"), {number(done.sample.wall)} s later. This project submits several '
            "arrays."
        )

    def _launch(
        self, cluster: PausedCluster, results: Path, size: int
    ) -> tuple[Submitted, str | None]:
        """What it took, and why nothing was submitted if so."""
        python = official_plugin.install()
        progress(f"{size} runs by the official plugin")
        said: list[str | None] = []
        done = _submit(
            cluster,
            results,
            lambda: said.append(official_plugin.launch(python, cluster, results, size)),
        )
        cluster.empty()
        return done, said[0]
