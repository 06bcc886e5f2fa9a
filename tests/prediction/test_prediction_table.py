from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.errors import UserError
from xray_hpc.prediction.predict_files import Prediction
from xray_hpc.prediction.prediction_table import PredictionTable, csv_rows, printable

CLASSES = ("NORMAL", "PNEUMONIA")


def scored(path: str, p: float = 0.75) -> Prediction:
    return Prediction(path, (1 - p, p), CLASSES[p > 0.5], None)


def failed(path: str, error: str = "empty file") -> Prediction:
    return Prediction(path, None, None, error)


def table(*rows: Prediction, width: int = 100, height: int = 40) -> PredictionTable:
    result = PredictionTable(CLASSES, "out.csv", width, height)
    for row in rows:
        result.add(row)
    return result


def test_of_two_classes_the_positive_score_is_shown() -> None:
    assert table(scored("a.png"), scored("folder/b.png", 0.1)).text() == (
        "path          score_PNEUMONIA  label\n"
        "a.png                  0.7500  PNEUMONIA\n"
        "folder/b.png           0.1000  NORMAL"
    )


def test_of_three_classes_every_score_is_shown() -> None:
    shown = PredictionTable(("A", "B", "C"), "out.csv", 100, 40)
    shown.add(Prediction("x.png", (0.2, 0.7, 0.1), "B", None))
    assert shown.text() == (
        "path   score_A  score_B  score_C  label\n"
        "x.png   0.2000   0.7000   0.1000  B"
    )  # fmt: skip


def test_an_image_without_a_score_has_its_error_in_the_row() -> None:
    line = table(failed("a.png"), scored("b.png")).text().splitlines()[1]
    assert line == "a.png                -  error: empty file"


def test_a_long_path_loses_its_start_and_a_long_error_its_end() -> None:
    rows = [scored("very/" * 20 + "deep.png"), failed("b.png", "much " * 20)]
    lines = table(*rows, width=80).text().splitlines()
    assert list(map(len, lines[1:])) == [59, 80]
    assert lines[1].startswith("...")
    assert "/deep.png  " in lines[1]
    assert lines[2].endswith("...")


@given(st.integers(1, 60), st.integers(1, 60))
def test_it_is_no_higher_than_the_screen(rows: int, height: int) -> None:
    text = table(*[scored("a.png")] * rows, height=height).text()
    left = rows - max(height - 8, 5)
    lines = text.splitlines()
    assert len(lines) <= max(height - 6, 7)
    assert (lines[-1] == f"... and {left} more in out.csv") == (left > 0)


def test_all_are_counted_whether_they_are_shown_or_not() -> None:
    rows = [*[scored("a.png")] * 1200, *[scored("b.png", 0.2)] * 30]
    assert table(*rows).counts() == "30 NORMAL, 1,200 PNEUMONIA"
    assert table(*rows, failed("c.png")).counts() == "30 NORMAL, 1,200 PNEUMONIA, 1 without a score"


def test_the_first_failures_are_named_with_their_reasons() -> None:
    assert table(scored("a.png"), failed("b.png"), failed("c.png", "not an image")).failures() == (
        "2 of 3 images could not be scored: b.png: empty file; c.png: not an image"
    )
    assert table(*[failed("a.png")] * 9).failures().endswith("a.png: empty file; ...")


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_a_terminal_acts_on_is_printed(text: str) -> None:
    assert printable(text).isprintable()


def test_a_csv_holds_every_digit_and_any_name(tmp_path: Path) -> None:
    rows = [scored('a "b", c\n.png', 1 / 3), scored("caf\udce9.png"), failed("größe.png")]
    with csv_rows(str(tmp_path / "out.csv"), CLASSES) as write:
        for row in rows:
            write(row)
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        head, *cells = csv.reader(file)
    assert head == ["path", "score_NORMAL", "score_PNEUMONIA", "label", "error"]
    assert cells[0] == ['a "b", c\n.png', repr(1 - 1 / 3), repr(1 / 3), "NORMAL", ""]
    assert cells[1][0] == r"caf\udce9.png"
    assert cells[2] == ["größe.png", "", "", "", "empty file"]


def test_a_disk_that_is_full_is_the_users_to_mend(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"cannot write .*out\.csv: No space left on device"),
        csv_rows(str(tmp_path / "out.csv"), CLASSES),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_standard_output_gets_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    with csv_rows("-", CLASSES) as write:
        write(scored("a.png"))
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["label"] == "PNEUMONIA"
