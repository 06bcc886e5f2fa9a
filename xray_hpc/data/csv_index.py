"""Index of a CSV file with the columns ``path,label,split`` and optionally ``patient``."""

from __future__ import annotations

import csv
import io
import os
import posixpath
import stat
from collections import Counter
from pathlib import Path

from xray_hpc.data.index_entry import (
    SPLIT_NAMES,
    SPLITS,
    IndexEntry,
    check_classes,
    check_utf8,
    patient_from_filename,
)
from xray_hpc.errors import DataError, StorageError, nearest
from xray_hpc.regular_file import read_regular

REQUIRED = ("path", "label", "split")
MAX_BYTES = 2**30  # a million rows have about 100 MB


def read_csv_index(file: Path) -> tuple[tuple[str, ...], list[IndexEntry]]:
    """Read the images of a CSV file with a header.

    ``path`` is relative to the folder of the CSV, ``label`` is the class, ``split`` is a name in
    ``SPLITS``. A missing or empty ``patient`` is derived from the file name. Other columns
    are ignored.

    Returns:
        The sorted classes, and the images ordered by split, class and path.
    """
    try:
        rows = _rows(file)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{file} is not a UTF-8 CSV file ({error}); save it as one") from error
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror}") from error
    images: dict[str, Counter[str]] = {origin: Counter() for origin in SPLIT_NAMES}
    for _, row in rows:
        images[SPLITS[row["split"].lower()]][row["label"]] += 1
    classes = check_classes(images, str(file))
    entries = [_entry(file, line, row, classes) for line, row in rows]
    entries.sort(key=lambda entry: (SPLIT_NAMES.index(entry.split), entry.label, entry.path))
    return classes, entries


def _rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    rows: list[tuple[int, dict[str, str]]] = []
    first: dict[str, int] = {}
    text = read_regular(file, MAX_BYTES).decode("utf-8-sig")
    with io.StringIO(text, newline="") as handle:
        reader = csv.reader(handle, strict=True)
        columns = next(reader, [])
        for column in REQUIRED:
            if column not in columns:
                found = ",".join(columns) or "nothing"
                raise DataError(
                    f"{file}, line 1: no column '{column}'{nearest(column, columns)} "
                    f"(found: {found}; needed: {','.join(REQUIRED)}, separated by commas)"
                )
        end = reader.line_num
        for cells in reader:
            line, end = end + 1, reader.line_num
            if not cells:
                continue
            where = f"{file}, line {line}"
            known = dict(zip(columns, cells, strict=False))
            row = {column: known.get(column, "") for column in (*REQUIRED, "patient")}
            row["label"], row["split"] = row["label"].strip(), row["split"].strip()
            for column in REQUIRED:
                if not row[column]:
                    raise DataError(f"{where}: '{column}' is empty; fill it in")
            if (split := row["split"].lower()) not in SPLITS:
                hint = nearest(split, SPLITS)
                raise DataError(f"{where}: split {split!r} is not train, validation or test{hint}")
            row["path"] = path = posixpath.normpath(row["path"])
            # A path may be given both relative and absolute. Links are not resolved: the contents
            # of the files are compared when they are decoded.
            if (earlier := first.setdefault(os.path.abspath(file.parent / path), line)) != line:
                raise DataError(f"{where}: {path!r} is already in line {earlier}; remove one")
            rows.append((line, row))
    return rows


def _entry(file: Path, line: int, row: dict[str, str], classes: tuple[str, ...]) -> IndexEntry:
    path = row["path"]
    check_utf8(path)
    where = f"{file}, line {line}"
    try:
        found = (file.parent / path).stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{where}: cannot find {path!r} in {file.parent} ({reason})") from error
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{where}: {path!r} is not a file")
    folder, name = posixpath.split(path)
    patient = row["patient"].strip() or patient_from_filename(name, folder)
    label = classes.index(row["label"])
    return IndexEntry(
        path, label, patient, SPLITS[row["split"].lower()], found.st_size, found.st_mtime_ns
    )
