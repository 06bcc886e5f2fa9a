"""What a job does with a run folder: train it in a child process, and tell the truth about it.

The child does the TensorFlow work. This process is small, outlives the child however that ends,
and so can write into ``run.json`` what a killed process cannot.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from types import FrameType
from typing import IO, Any

from xray_hpc.cluster.versions import git_state
from xray_hpc.errors import UserError
from xray_hpc.runs.frozen import read_frozen
from xray_hpc.runs.lease import Lease, LeaseError
from xray_hpc.runs.paths import RunPaths
from xray_hpc.runs.record import RunRecord, Status, now, read_record, update_record

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


def work(paths: RunPaths) -> int:
    """Train the run unless it is finished; give the exit code that the job should end with.

    Raises:
        UserError: it is no run folder, or another process is training it.
    """
    read_frozen(paths)
    try:
        with Lease.take(paths.lease, job=slurm_job_id()):
            record = read_record(paths)
            if record is None:
                raise UserError(f"{paths.record} is missing; launch the sweep again")
            if record.status is Status.FINISHED:
                print(f"{paths.name} is finished already; leaving it as it is")
                return 0
            with _Ending() as ending:
                _start(paths, record)
                code = _train(paths, ending)
                return _conclude(paths, code, ending.asked)
    except LeaseError as error:
        raise UserError(f"{paths.name} is being trained by {error.owner}") from None


def slurm_job_id(environ: Mapping[str, str] = os.environ) -> str | None:
    """This job's id as ``squeue`` writes it, ``17`` or ``17_3``; ``None`` outside of Slurm."""
    if array := environ.get("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{environ['SLURM_ARRAY_TASK_ID']}"
    return environ.get("SLURM_JOB_ID")


def _start(paths: RunPaths, record: RunRecord) -> None:
    job = slurm_job_id()
    update_record(
        paths,
        status=Status.RUNNING,
        started=now(),
        ended=None,
        seconds=None,
        error=None,
        node=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        job_id=job,
        job_ids=[*record.job_ids, job] if job and job not in record.job_ids else record.job_ids,
        git=git_state() or record.git,
        restarts=record.restarts + (record.started is not None),
    )


class _Ending:
    """While it is entered, a signal that asks this process to end ends the child instead.

    It covers all the time in which ``run.json`` says ``running``, so that the record is put right
    whenever the signal comes. ``asked`` is the first signal that came.
    """

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Ending:
        self._before = {number: signal.signal(number, self._end) for number in ENDING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.asked = self.asked or signal.Signals(number)
        if self._child is not None:
            self._child.terminate()

    def watch(self, child: subprocess.Popen[bytes]) -> None:
        """End ``child`` at the next signal, or now if one came before."""
        self._child = child
        if self.asked is not None:
            child.terminate()


def _train(paths: RunPaths, ending: _Ending) -> int:
    """Run the child; give its exit code."""
    bar = sys.stdout.isatty()
    command = [sys.executable, "-u", "-m", "xray_hpc.training", str(paths.folder)]
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"XRAY_HPC_BAR": str(int(bar))},
    )
    ending.watch(child)
    assert child.stdout is not None
    with child.stdout, paths.log.open("ab", buffering=0) as log:
        log.write(f"--- {now()} on {socket.gethostname()}, job {slurm_job_id()}\n".encode())
        _copy(child.stdout, log)
    return child.wait()


def _copy(source: IO[bytes], log: IO[bytes]) -> None:
    """Copy the child's output to the log and to this process's own; a bar only to the latter."""
    kept = b""
    while block := os.read(source.fileno(), 1 << 16):
        try:
            sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()
        except OSError:  # the terminal is gone; the run goes on
            pass
        *lines, kept = (kept + block).split(b"\n")
        for line in lines:
            log.write(line.rpartition(b"\r")[2].rstrip() + b"\n")
    if kept:
        log.write(kept.rpartition(b"\r")[2] + b"\n")


def _conclude(paths: RunPaths, code: int, asked: signal.Signals | None) -> int:
    record = read_record(paths)
    assert record is not None
    if record.status is Status.FINISHED:  # which is written last: however it ended after that
        return 0
    if -code in ENDING:
        # Slurm signals each process of a job; the child's may be there before this one's.
        asked = asked or signal.Signals(-code)
    if asked is not None:
        why = {"type": "Interrupted", "message": _interruption(asked)}
        update_record(paths, status=Status.INTERRUPTED, ended=now(), error=why)
        return 128 + asked
    if record.status is Status.RUNNING:
        update_record(paths, status=Status.FAILED, ended=now(), error=_unexplained(code))
    return 128 - code if code < 0 else code or 1


def _interruption(asked: signal.Signals) -> str:
    if asked is signal.SIGUSR2:
        return "its time limit (cluster.time) was near: SIGUSR2"
    return f"it was told to end by {asked.name}"


def _unexplained(code: int) -> dict[str, str]:
    """Why the child ended, where it could not say so itself."""
    if code >= 0:
        return {"type": "Exit", "message": f"the training process ended with exit code {code}"}
    name = signal.Signals(-code).name
    hint = "; out of memory is the usual cause" if name == "SIGKILL" else ""
    return {"type": "Killed", "message": f"the training process was killed by {name}{hint}"}
