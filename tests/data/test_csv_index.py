from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from xray_hpc.data.csv_index import read_csv_index
from xray_hpc.errors import DataError, StorageError, UserError

HEADER = "path,label,split\n"
ROWS = "a.png,sick,train\nb.png,well,train\nc.png,sick,test\nd.png,well,test\n"


@pytest.fixture
def csv(tmp_path: Path, make_tree: Callable[..., Path]) -> Callable[[str], Path]:
    make_tree(tmp_path, {".": [*(f"{name}.png" for name in "abcd"), "person3_virus_4.jpeg"]})
    file = tmp_path / "list.csv"

    def write(text: str) -> Path:
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_read_csv_index_returns_classes_and_images(csv: Callable[[str], Path]) -> None:
    classes, entries = read_csv_index(csv(HEADER + ROWS))
    assert classes == ("sick", "well")
    assert [(entry.path, entry.label, entry.split) for entry in entries] == [
        ("a.png", 0, "train"),
        ("b.png", 1, "train"),
        ("c.png", 0, "test"),
        ("d.png", 1, "test"),
    ]


def test_read_csv_index_patient_from_column_or_file_name(csv: Callable[[str], Path]) -> None:
    file = csv(
        "age,patient,split,label,path\n"
        "50,ann,train,sick,a.png\n"
        "50,,train,well,b.png\n"
        "50,,test,sick,person3_virus_4.jpeg\n"
        "50,bob,test,well,d.png\n"
    )
    patients = {entry.path: entry.patient for entry in read_csv_index(file)[1]}
    assert patients == {
        "a.png": "ann",
        "b.png": "b.png",
        "person3_virus_4.jpeg": "person3_virus",
        "d.png": "bob",
    }


@pytest.mark.parametrize("name", ["val", "valid", "dev", "Validation"])
def test_read_csv_index_accepts_bom_and_val(csv: Callable[[str], Path], name: str) -> None:
    row = f"person3_virus_4.jpeg,sick,{name}\n"
    _, entries = read_csv_index(csv("\ufeff" + HEADER + ROWS + row))
    assert [entry.split for entry in entries].count("validation") == 1


def test_read_csv_index_accepts_quoted_paths(
    csv: Callable[[str], Path], make_image: Callable[[Path], None], tmp_path: Path
) -> None:
    make_image(tmp_path / "x,\ny.png")
    file = csv(HEADER + ROWS + '"x,\ny.png",sick,train\n')
    assert "x,\ny.png" in [entry.path for entry in read_csv_index(file)[1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: no column 'path' \(found: nothing"),
        ("path;label;split\n", r"line 1: no column 'path'.*separated by commas"),
        ("Path,label,split\n", r"line 1: no column 'path'; did you mean 'Path'\?"),
        (HEADER + "a.png,sick,trian\n", r"line 2: split 'trian' .*did you mean 'train'"),
        (HEADER + ROWS + "\n./a.png,sick,test\n", r"line 7: 'a.png' .*line 2"),
        (HEADER + "a.png,,train\n", r"line 2: 'label' is empty"),
        (HEADER + "a.png\n", r"line 2: 'label' is empty"),
        (HEADER + ROWS + "e.png,sick,test\n", r"line 6: cannot find 'e.png'"),
        (HEADER + ROWS + ".,sick,test\n", r"line 6: '.' is not a file"),
        (HEADER + '"a.png,sick,train\n', r"is not a UTF-8 CSV file"),
        (HEADER + "a.png,sick,train\nb.png,well,train\n", r"class 'sick' is in train but not in t"),
    ],
)
def test_read_csv_index_rejects_invalid_lines(
    csv: Callable[[str], Path], text: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_csv_index(csv(text))


def test_read_csv_index_rejects_a_relative_path_that_is_also_absolute(
    csv: Callable[[str], Path], tmp_path: Path
) -> None:
    file = csv(HEADER + ROWS + f"{tmp_path / 'a.png'},well,train\n")
    with pytest.raises(UserError, match=r"line 6: '.*/a.png' is already in line 2; remove one"):
        read_csv_index(file)


def test_read_csv_index_line_numbers_with_quoted_paths(csv: Callable[[str], Path]) -> None:
    text = HEADER + '"x\ny.png",sick,train\nb.png,well,tst\n'
    with pytest.raises(UserError, match=r"line 4: split 'tst'.*did you mean 'test'"):
        read_csv_index(csv(text))


def test_read_csv_index_rejects_other_encodings(csv: Callable[[str], Path]) -> None:
    file = csv("")
    file.write_bytes(HEADER.encode() + b"\xff.png,sick,train\n")
    with pytest.raises(UserError, match="is not a UTF-8 CSV file"):
        read_csv_index(file)


@pytest.mark.parametrize("kind", ["fifo", "device", "sparse"])
def test_read_csv_index_reads_regular_files_of_limited_size(
    csv: Callable[[str], Path], kind: str
) -> None:
    file = csv(HEADER)
    file.unlink()
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        file.touch()
        os.truncate(file, 2**40)
    with pytest.raises(StorageError, match=re.escape(str(file))):
        read_csv_index(file)


@pytest.mark.parametrize("image", ["fifo", "device"])
def test_read_csv_index_refuses_images_that_are_no_files(
    csv: Callable[[str], Path], tmp_path: Path, image: str
) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=f"line 6: '{image}'"):
        read_csv_index(csv(HEADER + ROWS + f"{image},sick,test\n"))


@pytest.mark.parametrize("letters", [201, 100_000])
def test_read_csv_index_refuses_long_classes(csv: Callable[[str], Path], letters: int) -> None:
    text = (HEADER + ROWS).replace("sick", "s" * letters)
    with pytest.raises(DataError, match=rf"list\.csv: .* {letters:,} .* 200$") as caught:
        read_csv_index(csv(text))
    assert len(str(caught.value)) < 300


def test_read_csv_index_refuses_long_paths(csv: Callable[[str], Path]) -> None:
    with pytest.raises(DataError, match=r"line 6: .*'pppp"):
        read_csv_index(csv(HEADER + ROWS + f"{'p' * 300}.png,sick,test\n"))
