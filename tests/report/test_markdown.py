"""The report's text, whatever names it has to show."""

from __future__ import annotations

import pytest

from xray_hpc.report.markdown import escape, link, report
from xray_hpc.report.reading import Run


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("learning_rate", "learning_rate"),
        ("_private_", r"\_private\_"),
        ("a|b", r"a\|b"),
        ("*bold* `code` [x](y) <b> #1 ~", r"\*bold\* \`code\` \[x\](y) \<b\> \#1 \~"),
        ("back\\slash", r"back\\slash"),
        ("two\nlines", "two lines"),
    ],
)
def test_markdown_shows_text_unchanged(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_links_survive_odd_names() -> None:
    assert link("a b", "../runs/a (b)|c/log") == "[a b](../runs/a%20%28b%29%7Cc/log)"


def test_a_pipe_in_a_reason_does_not_break_the_table() -> None:
    run = Run("ft|1", "ft", "failed", error="a | b\nc")
    text = report("odd", [run], [], [], {"ft|1": "../runs/ft|1/log"})
    assert r"| ft\|1 | failed | a \| b c | [log](../runs/ft%7C1/log) |" in text


def test_no_finished_run_leaves_out_the_comparison() -> None:
    text = report("empty", [Run("ft-1", "ft", "missing", error="there is no folder")], [], [], {})
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["# Sweep empty", "## Runs without a result", "## Files"]


def test_runs_on_different_data_are_said_to_be() -> None:
    runs = [Run(f"ft-{i}", "ft", "created", config={"data.split_seed": i}) for i in range(2)]
    assert "The runs differ in their data (see runs.csv)." in report("s", runs, [], [], {})


def test_figures_of_the_data_are_shown_and_tables_linked() -> None:
    files = ["../data/ab12/class bars.png", "../data/ab12/index.csv"]
    text = report("s", [Run("ft-1", "ft", "created")], [], files, {})
    assert "![class bars](../data/ab12/class%20bars.png)" in text
    assert "What the data set holds: [index.csv](../data/ab12/index.csv)." in text
