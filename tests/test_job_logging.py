"""Logging of jobs."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from xray_hpc import job_logging
from xray_hpc.errors import UserError

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"


@pytest.fixture(autouse=True)
def package_logger() -> Iterator[logging.Logger]:
    """The package's logger; its handlers and level are restored afterwards."""
    logger = logging.getLogger("xray_hpc")
    before = logger.handlers, logger.level
    yield logger
    logger.handlers, logger.level = before


def test_configure_writes_time_level_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    job_logging.configure()
    logging.getLogger("xray_hpc.worker.worker").info("resuming from epoch 3")
    assert re.fullmatch(f"{TIME} INFO resuming from epoch 3\n", capsys.readouterr().err)


def test_times_are_in_utc(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job_logging.configure()
    record = logging.makeLogRecord({"name": "xray_hpc", "levelno": 20, "levelname": "INFO"})
    record.created = 0.0
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        logging.getLogger("xray_hpc").handle(record)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert capsys.readouterr().err.startswith("1970-01-01 00:00:00Z INFO")


def test_configure_twice_writes_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    job_logging.configure()
    job_logging.configure()
    logging.getLogger("xray_hpc.data").warning("low disk space")
    assert capsys.readouterr().err.count("low disk space") == 1


def test_run_job_logs_a_user_error_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise UserError("no run.json\nin results/lr")

    with pytest.raises(SystemExit) as exit_:
        job_logging.run_job(main)
    assert exit_.value.code == 2
    assert re.fullmatch(f"{TIME} ERROR no run.json in results/lr\n", capsys.readouterr().err)


def test_logging_to_a_closed_stderr_does_not_end_the_process() -> None:
    code = (
        "import logging, os, sys\n"
        "from xray_hpc import job_logging\n"
        "job_logging.configure()\n"
        "sys.stdin.readline()\n"
        "logging.getLogger('xray_hpc').error('nobody reads this')\n"
        "os._exit(3)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    process.stdin.write(b"go\n")
    process.stdin.close()
    assert process.wait() == 3
