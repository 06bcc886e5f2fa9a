"""Dataclasses that are stored as JSON files: ``run.json``, ``metrics.json``, ``progress.json``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from xray_hpc.config.dataclass_conversion import build
from xray_hpc.errors import ConfigError, RecordError
from xray_hpc.records.atomic_files import JSON_LIMIT, parse_json, write_json
from xray_hpc.regular_file import read_regular

T = TypeVar("T")


def write_json_record(path: Path, record: Any) -> None:
    """Write a dataclass to ``path`` in one step."""
    write_json(path, dataclasses.asdict(record))


def read_json_record(kind: type[T], path: Path) -> T:
    """Read the dataclass ``kind`` from ``path``; keys that are not its fields are ignored.

    Raises:
        FileNotFoundError: the file does not exist.
        OSError: the file cannot be read, or is no regular file.
        RecordError: the file is damaged; the message names it and the first wrong key.
    """
    return parse_json_record(kind, read_regular(path, JSON_LIMIT), path)


def parse_json_record(kind: type[T], raw: bytes, path: Path) -> T:
    """Build the dataclass ``kind`` from the contents of ``path``; raise ``RecordError``."""
    values = parse_json(raw, path)
    try:
        return build(kind, values, ignore_unknown=True)
    except ConfigError as error:
        raise RecordError(path, f": {error}") from error
