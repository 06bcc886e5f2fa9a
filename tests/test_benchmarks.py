"""The benchmark runs and prints its tables; how long anything takes is not looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
BENCHMARKS = REPOSITORY / "tests" / "benchmarks"


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS), *words], cwd=REPOSITORY, capture_output=True, text=True
    )


def test_a_topic_prints_its_table_and_the_machine() -> None:
    done = bench("--only", "compose", "--repeat", "1")
    assert done.returncode == 0, done.stderr
    title, about, table, remark, facts = done.stdout.strip().split("\n\n")
    assert title == "## Composing the configurations of 1,000 runs"
    assert about.startswith("Within one process, in turn.")
    head, rule, *rows = table.splitlines()
    assert {len(line) for line in (head, rule, *rows)} == {len(head)}
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == [
        "as the launcher does",
        "Hydra's own way, extrapolated from 10 runs",
    ]
    numbers = [number for row in cells for number in row[2].replace(",", "").split(" / ")]
    assert all(float(number) > 0 for number in numbers)
    assert remark.startswith("Hydra's own way takes ")
    assert facts.splitlines()[0].startswith("- date: ")
    assert str(REPOSITORY) not in done.stdout


def test_an_unknown_topic_is_refused_with_those_there_are() -> None:
    done = bench("--only", "speed")
    assert done.returncode == 2
    topics = ("start", "compose", "launch", "submit", "status", "collect", "images", "checkpoints")
    assert all(topic in done.stderr for topic in topics)
