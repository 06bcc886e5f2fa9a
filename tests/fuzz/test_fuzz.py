"""A few cases of every topic; ``python -m tests.fuzz`` runs all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import __main__ as fuzz_command
from tests.fuzz.fuzzing import TOPICS, Fuzzing

CASES = {"sweeps": 10, "types": 6, "images": 40, "datasets": 12, "packs": 20, "cards": 40}


@pytest.fixture(scope="module")
def fuzzing() -> Iterator[Fuzzing]:
    with Fuzzing(seed=0) as fuzzing:
        yield fuzzing


@pytest.mark.parametrize("topic", TOPICS)
def test_commands_have_no_problem_with(fuzzing: Fuzzing, topic: str) -> None:
    verdicts = [fuzzing.verdict(topic, number) for number in fuzzing.choose(topic, CASES[topic])]
    problems = [(one.case, problem) for one in verdicts for problem in one.problems]
    assert problems == []
    assert all(one.commands for one in verdicts)


def test_table_of_a_whole_run_has_at_most_25_rows(fuzzing: Fuzzing) -> None:
    rows = {(topic, case.group) for topic in TOPICS for case in fuzzing.cases(topic)}
    assert len(rows) + 1 <= 25


@pytest.mark.parametrize(
    ("words", "whole"),
    [([], True), (["--seed", "1"], True), (["--cases", "2"], False), (["--only", "cards"], False)],
)
def test_only_a_whole_run_replaces_the_table_of_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], whole: bool
) -> None:
    monkeypatch.setattr(fuzz_command, "FOLDER", tmp_path)
    monkeypatch.setattr(Fuzzing, "__enter__", lambda fuzzing: fuzzing)
    monkeypatch.setattr(Fuzzing, "choose", lambda *_: [])
    monkeypatch.setattr(Fuzzing, "run", lambda *_: iter(()))
    assert fuzz_command.main(words) == 0
    assert (tmp_path / "RESULTS.md").exists() == whole
