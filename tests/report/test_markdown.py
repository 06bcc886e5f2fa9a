"""Markdown that shows text as it is, whatever it holds."""

from __future__ import annotations

import pytest

from xray_hpc.report.markdown import escape, link, table


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


def test_a_table_aligns_its_first_columns_left() -> None:
    assert table(["a|b", "n", "m"], [["x", "1", "2"]], left=2) == (
        "| a\\|b | n | m |\n| --- | --- | --: |\n| x | 1 | 2 |"
    )
