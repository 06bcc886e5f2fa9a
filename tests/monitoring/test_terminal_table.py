from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.monitoring.terminal_table import Column, Screen, shorten, table

RUNS = Column("run", ["ft-1", "cnn-22"])
STATES = Column("state", ["running", "failed"], colours=["cyan", "red"])
REASONS = Column("reason", ["", "crop must be below 1"], least=8)
NODES = Column("node", ["gpu-01", ""], rank=2)


def test_table_in_a_pipe_is_plain_and_whole() -> None:
    assert list(table([RUNS, STATES, NODES, REASONS], Screen())) == [
        "run     state    node    reason",
        "ft-1    running  gpu-01",
        "cnn-22  failed           crop must be below 1",
    ]


def test_table_leaves_out_an_empty_column() -> None:
    assert next(table([RUNS, Column("node", ["", ""]), STATES], Screen())) == "run     state"


def test_table_shortens_cells_then_drops_the_highest_rank() -> None:
    assert list(table([RUNS, STATES, NODES, REASONS], Screen(40)))[2] == (
        "cnn-22  failed           crop must be..."
    )
    assert list(table([RUNS, STATES, NODES, REASONS], Screen(30)))[::2] == [
        "run     state    reason",
        "cnn-22  failed   crop must ...",
    ]


def test_colours_do_not_change_the_layout() -> None:
    painted = list(table([RUNS, STATES, REASONS], Screen(80, 24, colour=True)))
    assert "\x1b[31mfailed \x1b[0m" in painted[2]
    plain = [re.sub(r"\x1b\[\d+m", "", line) for line in painted]
    assert plain == list(table([RUNS, STATES, REASONS], Screen(80)))


WORDS = st.lists(st.text("abc ", max_size=30), min_size=2, max_size=2)
COLUMNS = st.lists(
    st.builds(
        Column,
        head=st.text("xyz", min_size=1, max_size=12),
        cells=WORDS,
        right=st.booleans(),
        rank=st.integers(1, 5),
        least=st.none() | st.integers(3, 10),
    ),
    max_size=6,
)


@given(COLUMNS, st.integers(6, 120))
def test_table_fits_the_screen(columns: list[Column], width: int) -> None:
    lines = list(table([RUNS, *columns], Screen(width)))
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)


@given(st.text(), st.integers(0, 40))
def test_shorten_fits_the_width_and_keeps_short_text(text: str, width: int) -> None:
    short = shorten(text, width)
    assert len(short) <= width
    assert short == text or (len(text) > width and short.endswith("..."[:width]))


def test_cells_show_control_characters_in_one_line() -> None:
    rows = list(table([Column("run\x1b", ["a\n\x1b[2J", "b"])], Screen(80, 24, colour=True)))
    assert rows == ["\x1b[2mrun\\x1b\x1b[0m", r"a\n\x1b[2J", "b"]
    assert Screen(colour=True).paint("\x1b", "red") == "\x1b[31m\\x1b\x1b[0m"
