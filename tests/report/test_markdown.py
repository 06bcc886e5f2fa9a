"""Tests of Markdown escaping, links and tables."""

from __future__ import annotations

import pytest

from xray_hpc.report.markdown import escape, link, table


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("learning_rate", "learning_rate"),
        ("_private_", r"\_private\_"),
        ("a|b", r"a\|b"),
        ("*bold* `code` [x](y) <b> #1 ~", r"\*bold\* \`code\` \[x\](y) \<b\> \#1 \~"),
        ("back\\slash", r"back\\slash"),
        ("two\nlines", "two lines"),
        ("$x$", r"\$x\$"),
        ("http://a.b, WWW.a.b", r"http\://a.b, WWW\.a.b"),
        ("a\x1b[1m\u202e", r"a\\x1b\[1m\\u202e"),
    ],
)
def test_escape_special_characters(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_link_quotes_special_characters() -> None:
    assert link("a b", "../runs/a (b)|c/log") == "[a b](../runs/a%20%28b%29%7Cc/log)"


def test_link_accepts_a_name_that_is_not_utf8() -> None:
    assert link("caf\udce9", "caf\udce9") == r"[caf\\udce9](caf%E9)"


def test_table_aligns_first_columns_left() -> None:
    assert table(["a|b", "n", "m"], [["x", "1", "2"]], left=2) == (
        "| a\\|b | n | m |\n| --- | --- | --: |\n| x | 1 | 2 |"
    )
