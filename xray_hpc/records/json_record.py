"""Dataclasses that are stored as JSON files: ``run.json``, ``metrics.json``, ``progress.json``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from xray_hpc.config.dataclass_conversion import build
from xray_hpc.errors import ConfigError, RecordError
from xray_hpc.records.atomic_files import JSON_LIMIT, parse_json, read_json, write_json
from xray_hpc.regular_file import read_regular

T = TypeVar("T")
CHECKSUM = b'"checksum": "'


def write_json_record(path: Path, record: Any) -> None:
    """Write a dataclass to ``path`` in one step."""
    write_json(path, dataclasses.asdict(record))


def read_json_record(kind: type[T], path: Path) -> T:
    """Read the dataclass ``kind`` from ``path``; keys that are not its fields are ignored.

    Raises:
        FileNotFoundError: the file does not exist.
        OSError: the file cannot be read, or is not a regular file.
        RecordError: the file is damaged; the message names it and the first wrong key.
    """
    return build_record(kind, read_json(path), path)


def build_record(kind: type[T], values: Mapping[str, Any], path: Path) -> T:
    """Build the dataclass ``kind`` from the values in ``path``; raise ``RecordError``."""
    try:
        return build(kind, values, ignore_unknown=True)
    except ConfigError as error:
        raise RecordError(path, f": {error}") from error


def with_checksum(values: Mapping[str, Any], indent: int | None = None) -> str:
    """Return a mapping as JSON that ends with a checksum of the rest."""
    text = json.dumps({**values, "checksum": ""}, indent=indent, allow_nan=False)
    content, mark, end = text.rpartition(CHECKSUM.decode())
    return f"{content}{mark}{hashlib.sha256(content.encode()).hexdigest()}{end}\n"


def read_checked_json(path: Path) -> dict[str, Any]:
    """Read the JSON of :func:`with_checksum`.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        RecordError: it is damaged.
    """
    raw = read_regular(path, JSON_LIMIT)
    values = parse_json(raw, path)
    content, _, rest = raw.rpartition(CHECKSUM)
    checksum, _, end = rest.partition(b'"')
    if checksum != hashlib.sha256(content).hexdigest().encode() or end.strip() != b"}":
        raise RecordError(path, " does not match its checksum")
    return values
