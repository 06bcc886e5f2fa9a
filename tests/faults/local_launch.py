"""Kill a local launch during training, repeatedly: ``python -m tests.faults.local_launch``.

Each time the launch process alone gets SIGKILL, and the same command is run again when its
trainings have ended. In the end the files must equal those of an uninterrupted launch.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.run_files import differing_files, file_contents
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.records.run_progress import read_progress
from xray_hpc.records.run_record import Status, read_record

REPOSITORY = Path(__file__).parents[2]
EPOCHS_EACH = 4  # for each kill: more than a training does until it is killed and has ended
DELAY = 0.5  # seconds at most from the end of an epoch to the kill
TIMEOUT = 120.0  # seconds


@dataclass(frozen=True)
class KillSeries:
    """What a series of kills did.

    Attributes:
        ends: seconds from each kill until all trainings had ended.
        attempts: the number of attempts of each run.
        files: the number of files of all runs that were compared.
        differing: the names of those that differ from an uninterrupted launch's.
    """

    ends: list[float]
    attempts: list[int]
    files: int
    differing: list[str]


def kill_launches(folder: Path, kills: int, runs: int = 1, seed: int = 0) -> KillSeries:
    """Launch a sweep of ``runs`` trainings twice, and kill the second launch ``kills`` times.

    Raises:
        RuntimeError: a launch failed or was finished too early, or a training did not end.
    """
    words = (
        *("-m", "model=cnn", "data=demo", "data.demo_images=60", "data.image_size=32"),
        *("train.batch_size=8", f"train.epochs={EPOCHS_EACH * kills}", "train.early_stopping=null"),
        *(f"seed={','.join(map(str, range(runs)))}", f"cluster.parallel={runs}", "cluster=local"),
        *(f"results={folder}", f"cache={folder / 'cache'}"),
    )
    finish([*words, "name=alone"])
    drawn, killed = random.Random(seed), SweepPaths(folder / "killed")
    again = [*words, f"name={killed.name}"]
    ends = [kill_in_training(killed, again, DELAY * drawn.random()) for _ in range(kills)]
    finish(again)
    differing, attempts, files = list[str](), list[int](), 0
    for run in runs_of(killed):
        record = read_record(run)
        assert record is not None
        assert record.status is Status.FINISHED
        attempts.append(len(record.attempts))
        files += len(file_contents(run))
        differing += differing_files(run, SweepPaths(folder / "alone").run(run.name))
    return KillSeries(ends, attempts, files, differing)


def start(words: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "xray_hpc.launch", *words],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(words: Sequence[str]) -> None:
    """Run a launch to its end."""
    launch = start(words)
    _, errors = launch.communicate()
    if launch.returncode != 0:
        raise RuntimeError(f"{words} -> {launch.returncode}\n{errors}")


def kill_in_training(sweep: SweepPaths, words: Sequence[str], delay: float) -> float:
    """Kill a launch ``delay`` seconds after it has trained an epoch; wait for its trainings.

    Returns:
        Seconds from the kill until the trainings have ended.
    """
    before, launch = epochs_done(sweep), start(words)
    while epochs_done(sweep) <= before:
        if launch.poll() is not None:
            errors = launch.communicate()[1]
            raise RuntimeError(f"{words} -> {launch.returncode} before the kill\n{errors}")
        time.sleep(0.02)
    time.sleep(delay)
    trainings = children(launch.pid)
    if not trainings:
        raise RuntimeError(f"{words} has no training to leave behind")
    launch.kill()
    killed = time.monotonic()
    launch.communicate()
    while any(map(is_running, trainings)):
        if time.monotonic() > killed + TIMEOUT:
            raise RuntimeError(f"the trainings {trainings} still run")
        time.sleep(0.02)
    return time.monotonic() - killed


def runs_of(sweep: SweepPaths) -> list[RunPaths]:
    return [sweep.run(path.name) for path in sorted(sweep.runs.glob("*"))]


def epochs_done(sweep: SweepPaths) -> int:
    """Return the epochs that all runs of a sweep have trained."""
    return sum(found.done for run in runs_of(sweep) if (found := read_progress(run)))


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.local_launch")
    parser.add_argument("--kills", type=int, default=20, help="default: 20")
    parser.add_argument("--runs", type=int, default=1, help="trained side by side (default: 1)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xray-hpc-kills-") as folder:
        series = kill_launches(Path(folder), arguments.kills, arguments.runs)
    print(
        f"{len(series.ends)} launches of {len(series.attempts)} runs killed; the trainings ended "
        f"within {max(series.ends):.1f} s; attempts: {series.attempts}; "
        f"{len(series.differing)} of {series.files} files differ from an uninterrupted launch's"
    )
    return int(bool(series.differing))


if __name__ == "__main__":
    sys.exit(main())
