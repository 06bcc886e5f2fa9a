from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from xray_hpc.errors import StorageError
from xray_hpc.prediction.predict_images import Prediction
from xray_hpc.prediction.prediction_csv import csv_writer

CLASSES = ("NORMAL", "PNEUMONIA")


def scored(path: str, p: float = 0.75) -> Prediction:
    return Prediction(path, (1 - p, p), (-8 * p, 8 * p), CLASSES[p > 0.5], None)


def test_csv_writer_preserves_all_digits_and_escapes_names(tmp_path: Path) -> None:
    rows = [
        scored('a "b", c\n.png', 1 / 3),
        scored("caf\udce9.png"),
        Prediction("größe.png", None, None, None, "empty file"),
    ]
    with csv_writer(str(tmp_path / "out.csv"), CLASSES) as write:
        for row in rows:
            write(row)
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        head, *cells = csv.reader(file)
    assert head == ["path", "score_NORMAL", "score_PNEUMONIA", "logit", "label", "error"]
    numbers = [repr(value) for value in (1 - 1 / 3, 1 / 3, 8 / 3)]
    assert cells[0] == ['a "b", c\n.png', *numbers, "NORMAL", ""]
    assert cells[1][0] == r"caf\udce9.png"
    assert cells[2] == ["größe.png", "", "", "", "", "empty file"]


def test_csv_writer_writes_a_logit_for_each_of_three_classes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with csv_writer("-", "ABC") as write:
        write(Prediction("x.png", (0.2, 0.7, 0.1), (-1.0, 2.0, -3.0), "B", None))
    assert capsys.readouterr().out.splitlines() == [
        "path,score_A,score_B,score_C,logit_A,logit_B,logit_C,label,error",
        "x.png,0.2,0.7,0.1,-1.0,2.0,-3.0,B,",
    ]


def test_csv_writer_reports_a_full_disk(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"out\.csv: No space left on device"),
        csv_writer(str(tmp_path / "out.csv"), CLASSES),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_csv_writer_writes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with csv_writer("-", CLASSES) as write:
        write(scored("a.png"))
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["label"] == "PNEUMONIA"


def test_csv_writer_quotes_text_like_a_formula_and_no_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with csv_writer("-", ("+", "-1")) as write:
        write(Prediction("=x.png", (0.25, 0.75), (-1.5, 1.5), "-1", None))
        write(Prediction("@.png", None, None, None, "-"))
    assert capsys.readouterr().out.splitlines() == [
        "path,score_+,score_-1,logit,label,error",
        "'=x.png,0.25,0.75,1.5,'-1,",
        "'@.png,,,,,'-",
    ]


def test_csv_writer_quotes_a_carriage_return(tmp_path: Path) -> None:
    """A reader takes one without quotes for the end of the row."""
    with csv_writer(str(tmp_path / "x.csv"), ("A", "B")) as write:
        write(scored("a\rb.png"))
    text = (tmp_path / "x.csv").read_bytes().decode()
    assert text.count("\r") == 1
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["path"] == "a\rb.png"


def test_csv_writer_escapes_errors_and_leaves_names_exact(tmp_path: Path) -> None:
    row = Prediction("a\x1b.png", None, None, None, "PhotometricInterpretation is '\x1b[31m\x07'")
    with csv_writer(str(tmp_path / "out.csv"), CLASSES) as write:
        write(row)
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        _, cells = csv.reader(file)
    assert cells[0] == row.path
    assert cells[-1] == r"PhotometricInterpretation is '\x1b[31m\x07'"
