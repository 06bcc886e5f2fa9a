"""Running jobs as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from xray_hpc.launching import code_snapshot
from xray_hpc.launching.progress_view import ProgressView
from xray_hpc.records import ledger
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.records.run_record import now
from xray_hpc.resources import resource

ENDING = (signal.SIGTERM, signal.SIGHUP)
POLL_SECONDS = 0.2


def job_command(script: str, *arguments: str, code: Path | None = None) -> list[str]:
    """The command line of a job's script, of the code in ``code`` or of this process's own."""
    jobs = resource("jobs") if code is None else code / "jobs"
    return [sys.executable, "-u", str(jobs / f"{script}.py"), *arguments]


def job_environment(code: Path | None) -> dict[str, str]:
    """The environment in which a job imports the code in ``code``."""
    return dict(os.environ) if code is None else os.environ | code_snapshot.environment(code)


def stage(folders: Sequence[str], code: Path | None = None) -> int:
    """Pack the images of these run folders, with what is said shown; give the exit code."""
    return _shown(job_command("stage", *folders, code=code), code)


def compute_features(folders: Sequence[str], code: Path | None = None) -> int:
    """Compute what the feature extractors of these runs give, shown as well; give the exit code."""
    return _shown(job_command("features", "--local", *folders, code=code), code)


def collect(sweep: SweepPaths, code: Path | None = None) -> int:
    """Compare the runs, with what is said shown; give the exit code."""
    return _shown([sys.executable, "-m", "xray_hpc.collect", str(sweep.folder)], code)


def _shown(command: list[str], code: Path | None) -> int:
    sys.stdout.flush()  # what was said before it comes before it, into a file too
    # In a session of its own, so that Ctrl-C reaches this process alone, which ends it in order.
    process = subprocess.Popen(command, env=job_environment(code), start_new_session=True)
    try:
        with _interruptible():
            return process.wait()
    except KeyboardInterrupt:
        print("\nending; the same command goes on from here", flush=True)
        process.terminate()
        process.wait()
        raise


def run_all(runs: Sequence[RunPaths], parallel: int, code: Path | None = None) -> int:
    """Train the runs, ``parallel`` at a time, with a line on each; give how many did not finish."""
    waiting, going, ended = list(runs), dict[RunPaths, subprocess.Popen[bytes]](), 0
    view, began = ProgressView(len(runs)), now()
    failed = 0
    try:
        with _interruptible():
            while waiting or going:
                while waiting and len(going) < parallel:
                    paths = waiting.pop(0)
                    if ledger.read(paths.sweep).cancelled.get(paths.name, "") >= began:
                        ended, failed = ended + 1, failed + 1
                        view.say(f"{paths.name} was cancelled before it began", ended)
                    else:
                        going[paths] = _start(paths, code)
                for paths, process in list(going.items()):
                    if process.poll() is not None:
                        del going[paths]
                        ended += 1
                        failed += process.returncode != 0
                        view.ended(paths, ended)
                view.going(list(going), ended)
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        print("\nending what runs; the same command goes on from here", flush=True)
        raise
    finally:
        for process in going.values():
            process.terminate()
        for process in going.values():
            process.wait()
    return failed


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have a closed terminal or ``kill`` raise what Ctrl-C does."""
    # What is ignored stays so: nohup has it ignore SIGHUP.
    heard = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _start(paths: RunPaths, code: Path | None) -> subprocess.Popen[bytes]:
    with paths.log.open("ab") as log:  # the training's own output reaches it by another way
        return subprocess.Popen(
            job_command("run", "--local", str(paths.folder), code=code),
            env=job_environment(code),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            # Ctrl-C reaches the launcher alone, which then ends its runs in an orderly way.
            start_new_session=True,
        )
