"""A few cases of every topic; ``python -m tests.fuzz`` runs all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
