"""A worker that is stopped (SIGSTOP) while its training continues, and a second copy of the run.

The lease expires after some seconds here, and no process sees that an owner is on its own host.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.worker.fake_job import FINISH, JobStarter, record_of, wait_for_end, wait_until
from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_record import Failure, Status

EXPIRY = 6.0
# What processes of the first copy and of the second one execute before anything else.
SETTINGS = f"""
from xray_hpc.records import lease_file
lease_file.EXPIRY_SECONDS = {EXPIRY}
lease_file.boot_id = lambda: None
"""
# A training that writes without an end, and tells in a file outside of the run what it wrote.
WRITE = """
import time
from xray_hpc.training import __main__ as training
from xray_hpc.records.atomic_files import write_text
def train_run(paths, bar):
    print("training", flush=True)
    with open(os.environ["WRITTEN"], "a", buffering=1) as written:
        written.write(f"{os.getpid()}\\n")
        while True:
            write_text(paths.folder / "first.txt", "first")
            written.write(f"{time.monotonic()}\\n")
            time.sleep(0.02)
import types
sys.modules["xray_hpc.training.train_run"] = types.SimpleNamespace(train_run=train_run)
sys.stdout.flush()
os._exit(training.main())
"""
SECOND = "import time; open(os.environ['WRITTEN'], 'w').write(f'{time.monotonic()}'); " + FINISH


class Copies:
    """Two copies of a job of the run."""

    def __init__(self, job: JobStarter, run: RunPaths, folder: Path) -> None:
        self._job, self.run = job, run
        self._written, self._second = folder / "written", folder / "second"

    def _start(self, code: str, written: Path) -> subprocess.Popen[str]:
        return self._job(code, WRITTEN=str(written))

    def start_first(self) -> subprocess.Popen[str]:
        """Start the first copy, and wait until its training writes."""
        process = self._start(WRITE, self._written)
        wait_until(lambda: len(self.lines()) > 1)
        return process

    def run_second(self) -> float:
        """Run the second copy to its end, and return when it began to train."""
        code, output = wait_for_end(self._start(SECOND, self._second))
        assert code == 0, output
        return float(self._second.read_text())

    def lines(self) -> list[str]:
        return self._written.read_text().splitlines() if self._written.exists() else []

    @property
    def training(self) -> int:
        """The process id of the first training."""
        return int(self.lines()[0])

    @property
    def last_write(self) -> float:
        return float(self.lines()[-1])

    def has_ended(self) -> bool:
        """Return whether the first training has ended; its stopped worker has not waited for it."""
        state = Path(f"/proc/{self.training}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "Z"


@pytest.fixture
def copies(job: JobStarter, run: RunPaths, tmp_path: Path) -> Copies:
    job.settings = SETTINGS
    return Copies(job, run, tmp_path)


def test_training_ends_before_another_process_takes_the_run_of_a_stopped_worker(
    copies: Copies,
) -> None:
    first = copies.start_first()
    first.send_signal(signal.SIGSTOP)
    began = copies.run_second()
    assert copies.has_ended()
    assert copies.last_write < began
    record, log = copies.run.record.read_text(), copies.run.log.read_text()
    first.send_signal(signal.SIGCONT)
    code, output = wait_for_end(first)
    assert code == 69
    assert copies.run.name in output
    assert (copies.run.record.read_text(), copies.run.log.read_text()) == (record, log)
    assert record_of(copies.run).status is Status.FINISHED


def test_training_that_was_stopped_too_writes_nothing_after_the_take_over(copies: Copies) -> None:
    first = copies.start_first()
    first.send_signal(signal.SIGSTOP)
    os.kill(copies.training, signal.SIGSTOP)
    began = copies.run_second()
    written = (copies.run.folder / "first.txt").stat()
    os.kill(copies.training, signal.SIGCONT)
    wait_until(copies.has_ended)
    assert copies.last_write < began
    assert (copies.run.folder / "first.txt").stat() == written
    first.send_signal(signal.SIGCONT)
    code, output = wait_for_end(first)
    assert code == 69
    assert copies.run.name in output
    assert "Traceback" not in output


def test_run_of_a_worker_that_was_stopped_for_a_while_is_recorded(copies: Copies) -> None:
    first = copies.start_first()
    first.send_signal(signal.SIGSTOP)
    wait_until(copies.has_ended)
    first.send_signal(signal.SIGCONT)
    code, output = wait_for_end(first)
    assert code == 69
    assert copies.run.name in output
    record = record_of(copies.run)
    assert (record.status, record.failure) == (Status.FAILED, Failure.KILLED.value)
    assert record.error is not None


def test_job_that_was_suspended_as_a_whole_continues(copies: Copies) -> None:
    first = copies.start_first()
    for number in (signal.SIGSTOP, signal.SIGCONT):
        os.kill(copies.training, number)
        first.send_signal(number)
        if number is signal.SIGSTOP:
            before = copies.last_write
            wait_until(lambda: lease_age(copies.run) > 1.5 * EXPIRY)
    wait_until(lambda: copies.last_write > before + 2 * EXPIRY)
    first.terminate()
    code, _ = wait_for_end(first)
    assert code == 143


def lease_age(run: RunPaths) -> float:
    (file,) = run.lease.iterdir()
    return time.time() - file.stat().st_mtime
