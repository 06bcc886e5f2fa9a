"""Change values inside of JSON, YAML and CSV files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import yaml

Apply = Callable[[Path, Random], None]
ESCAPES = "\x1b]0;title\x07\x1b[31m\x9b2J\u202e\r\u2028"
WRONG: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, 10**400, 1e308, float("nan"), float("-inf"), ""),
    *("x", "2026-13-45T99:00", "../../etc", "é" * 300, ESCAPES, "\ud800", "\0"),
    *([], [None], [[]], [{}], ["x"], [1, 2], {}, {"x": {}}, {"": None}),
)
"""Values of many types, most of them wrong wherever they are put."""


def _positions(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the container and the key of every value inside."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _positions(value[key])


def edit(change: Callable[[Any, Any, Random], None]) -> Apply:
    """Change one value in a file of JSON, JSON lines or YAML."""

    def apply(path: Path, random: Random) -> None:
        text = path.read_text()
        lines = text.splitlines() if path.suffix == ".jsonl" else [text]
        number = random.randrange(len(lines))
        load = yaml.safe_load if path.suffix == ".yaml" else json.loads
        loaded = load(lines[number])
        positions = list(_positions(loaded)) or [([loaded], 0)]
        change(*random.choice(positions), random)
        dump = yaml.safe_dump if path.suffix == ".yaml" else json.dumps
        lines[number] = dump(loaded)
        path.write_text("\n".join(lines) + "\n")

    return apply


def wrong_type(container: Any, key: Any, random: Random) -> None:
    container[key] = random.choice(WRONG)


def new_value(container: Any, key: Any, random: Random) -> None:
    """Replace a value by another one of the same type."""
    value = container[key]
    if isinstance(value, bool):
        container[key] = not value
    elif isinstance(value, int):
        container[key] = value + random.choice((1, -1, 1000))
    elif isinstance(value, float):
        container[key] = value * random.choice((0.5, 0.99, 1.01, -1))
    elif isinstance(value, str):
        container[key] = value[::-1] if value[::-1] != value else value + "1"
    elif isinstance(value, list):
        container[key] = [*value, *value] or ["x"]
    elif isinstance(value, dict):
        container[key] = dict(list(value.items())[1:])
    else:
        container[key] = 1


def without_key(container: Any, key: Any, random: Random) -> None:
    del container[key]


def escapes(container: Any, key: Any, random: Random) -> None:
    container[key] = f"{container[key]}{ESCAPES}"


def cells(change: Callable[[list[list[str]], Random], None]) -> Apply:
    def apply(path: Path, random: Random) -> None:
        rows = [line.split(",") for line in path.read_text().splitlines()]
        change(rows, random)
        path.write_text("".join(",".join(row) + "\n" for row in rows))

    return apply


def edit_cell(rows: list[list[str]], random: Random) -> None:
    row = random.choice(rows[1:] or rows)
    cell = random.randrange(len(row))
    try:
        row[cell] = str(float(row[cell]) * random.choice((0.5, 0.99, 1.01)) + 0.25)
    except ValueError:
        row[cell] += "1"


def wrong_cell(rows: list[list[str]], random: Random) -> None:
    row = random.choice(rows)
    row[random.randrange(len(row))] = random.choice(
        ("", "nan", "inf", "1e999", "x", '"', "=1+1", ESCAPES, "9" * 5000, "x" * 200_000)
    )


def drop_row(rows: list[list[str]], random: Random) -> None:
    del rows[random.randrange(len(rows))]


def double_row(rows: list[list[str]], random: Random) -> None:
    rows.append(list(random.choice(rows)))


def swap_rows(rows: list[list[str]], random: Random) -> None:
    random.shuffle(rows)


def drop_column(rows: list[list[str]], random: Random) -> None:
    column = random.randrange(len(rows[0]))
    for row in rows:
        del row[column]
