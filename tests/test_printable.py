from __future__ import annotations

import io
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.printable import PrintableStream, printable, printable_lines, unescaped

HOSTILE = {
    "\x1b[2J": r"\x1b[2J",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x9b31m": r"\x9b31m",
    "a\rb\nc\td\x7f": r"a\rb\nc\td\x7f",
    "a\u202egnp.exe": r"a\u202egnp.exe",
    "\u2066x\u2069\u061c": r"\u2066x\u2069\u061c",
    "a\u2028b\u2029c\x85": r"a\u2028b\u2029c\x85",
    "caf\udce9": r"caf\udce9",
    "\U000e0041": r"\U000e0041",
}
TEXTS = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_printable_escapes_what_a_terminal_interprets(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text",
    ["größe", "肺炎", "a\u00a0b", "\u0645\u06cc\u200c\u062e", "\U0001f469\u200d\u2695", r"\x1b"],
)
def test_printable_keeps_text_of_any_script(text: str) -> None:
    assert printable(text) == text


@given(TEXTS)
def test_printable_text_is_one_line_that_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert len(shown.encode().splitlines()) <= 1
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown


@given(TEXTS)
def test_printable_lines_keeps_line_feeds_and_tabs(text: str) -> None:
    pieces = [printable(piece) for piece in text.replace("\t", "\n").split("\n")]
    assert printable_lines(text).replace("\t", "\n").split("\n") == pieces


def test_printable_stream_escapes_unless_told_otherwise() -> None:
    inner = io.StringIO()
    stream = PrintableStream(inner)
    print("a\x1b[1m", file=stream, flush=True)
    stream.writelines(["b\r\n"])
    print("\x1b[K", end="", file=unescaped(stream))  # type: ignore[arg-type]
    assert inner.getvalue() == "a\\x1b[1m\nb\\r\n\x1b[K"
    assert unescaped(inner) is inner


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_commands_print_no_control_character(stream: str) -> None:
    program = (
        "import sys\nfrom xray_hpc.command_line import run\nfrom xray_hpc.errors import UserError\n"
        f"text = {list(HOSTILE)!a}\n"
        "def main():\n    for one in text:\n        print(one, file=sys." + stream + ")\n"
        "    raise UserError('\\x1b[2J'.join(text))\nrun(main)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert ended.returncode == 2
    for line in (ended.stdout + ended.stderr).decode().split("\n"):
        assert line.replace("\t", "").isprintable()
    assert ended.stderr.count(b"error: ") == 1


def test_a_traceback_shows_no_control_character() -> None:
    program = (
        "from xray_hpc.command_line import run\n"
        "def main():\n    raise OSError('\x1b[2J'.encode().decode('unicode_escape'))\nrun(main)"
    ).replace("\x1b", "\\x1b")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert ended.returncode == 1
    assert b"OSError: \\x1b[2J" in ended.stderr
    assert b"\x1b" not in ended.stderr
