from __future__ import annotations

import io

import pytest

from xray_hpc import progress_bar
from xray_hpc.progress_bar import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_short_operation_logs_one_line_at_its_end() -> None:
    log = io.StringIO()
    with ProgressBar("decoding images", 2000, log) as bar:
        for _ in range(20):
            bar.advance(100)
    assert log.getvalue().startswith("decoding images 2,000/2,000, ")
    assert log.getvalue().count("\n") == 1


def test_initial_count_does_not_enter_the_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([100.0, 100.0, 102.0])
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: next(times))
    log = io.StringIO()
    with ProgressBar("decoding images", 1000, log, initial=900) as bar:
        bar.advance(100)
    assert log.getvalue() == "decoding images 1,000/1,000, 50/s\n"


def test_log_gets_a_line_per_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "LOG_SECONDS", 0)
    log = io.StringIO()
    with ProgressBar("decoding images", 3, log) as bar:
        for _ in range(3):
            bar.advance()
    starts = [line.split(",")[0] for line in log.getvalue().splitlines()]
    assert starts == [f"decoding images {n}/3" for n in (1, 2, 3, 3)]


def test_terminal_gets_a_bar_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "TERMINAL_SECONDS", 0)
    terminal = Terminal()
    with ProgressBar("decoding images", 2, terminal) as bar:
        bar.advance()
        bar.advance()
    text = terminal.getvalue()
    assert "\r[" + "#" * 15 + "." * 15 + "] decoding images 1/2" in text
    assert "\r[" + "#" * 30 + "] decoding images 2/2" in text
    assert text.count("\n") == 1


def test_failed_operation_logs_nothing() -> None:
    log = io.StringIO()
    with pytest.raises(ZeroDivisionError), ProgressBar("decoding images", 3, log):
        raise ZeroDivisionError
    assert log.getvalue() == ""
