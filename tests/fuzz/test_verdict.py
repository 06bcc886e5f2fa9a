"""The verdict on a command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.card_cases import card_cases
from tests.fuzz.data_set_cases import data_set_cases
from tests.fuzz.forked_command import Outcome, run_command, run_function
from tests.fuzz.image_cases import image_cases
from tests.fuzz.pack_cases import pack_cases
from tests.fuzz.type_cases import type_cases
from tests.fuzz.verdict import HungError, Verdict, judge


def kinds(code: int | None, stdout: str = "", stderr: str = "") -> list[str]:
    return [problem.kind for problem in judge(Outcome((), code, stdout.encode(), stderr.encode()))]


@pytest.mark.parametrize(
    ("code", "stdout", "stderr", "expected"),
    [
        (0, "3 runs\n\tx é\n", "", []),
        (2, "", "warning: x\nerror: x is 1; it must be 2\n", []),
        (2, "", "cnn-1a2b: 2 images; label: A if its score exceeds 0.5\nerror: x\n", []),
        (2, "", "", ["message"]),
        (2, "", "error: x\nerror: y\n", ["message"]),
        (2, "", "error: x\nand more\n", ["message"]),
        (3, "", "", ["message"]),
        (-9, "", "", ["message"]),
        (0, "a\x1b[31m", "", ["message"]),
        (0, "a\u202eb", "", ["message"]),
        (0, "a\rb", "", ["message"]),
        (None, "", "", ["hang"]),
        (1, "", "Traceback (most recent call last):\nValueError: x\n", ["traceback"]),
    ],
)
def test_judge_finds_what_a_command_must_not_do(
    code: int | None, stdout: str, stderr: str, expected: list[str]
) -> None:
    assert kinds(code, stdout, stderr) == expected


def raise_bug() -> None:
    raise ValueError("x")


def read_fifo() -> None:
    os.mkfifo("fifo")
    Path("fifo").read_text()


@pytest.mark.parametrize(
    ("call", "expected"), [(raise_bug, ["traceback"]), (lambda: print("x" * 99_999), [])]
)
def test_run_function_returns_how_a_forked_process_ended(
    tmp_path: Path, call: Callable[[], None], expected: list[str]
) -> None:
    outcome = run_function(call, ["x"], folder=tmp_path)
    assert [problem.kind for problem in judge(outcome)] == expected
    assert len(outcome.stdout) == (0 if expected else 100_000)


def test_verdict_ends_a_case_whose_command_never_ends(tmp_path: Path) -> None:
    verdict = Verdict("", "")
    with pytest.raises(HungError):
        verdict.add(run_function(read_fifo, ["x"], folder=tmp_path, seconds=0.5))
    assert [problem.kind for problem in verdict.problems] == ["hang"]


def test_run_function_gives_a_terminal(tmp_path: Path) -> None:
    outcome = run_function(
        lambda: print("a\nb", os.isatty(1)), ["x"], folder=tmp_path, terminal=True
    )
    assert (outcome.code, outcome.text) == (0, "a\nb True\n")


def test_every_topic_has_cases() -> None:
    """Of the data sets, models and command lines; those of sweeps need a sweep."""
    for cases in (type_cases(), image_cases(), data_set_cases(), pack_cases(), card_cases()):
        assert len({(case.group, case.name) for case in cases}) > 100


def test_run_command_runs_a_command_of_the_package(tmp_path: Path) -> None:
    outcome = run_command("status", "absent", folder=tmp_path)
    assert outcome.code == 2
    assert outcome.error.startswith("error: there is no sweep 'absent'")
