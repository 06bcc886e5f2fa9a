from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.prediction.predict_images import Prediction
from xray_hpc.prediction.prediction_table import PredictionTable

CLASSES = ("NORMAL", "PNEUMONIA")


def scored(path: str, p: float = 0.75) -> Prediction:
    return Prediction(path, (1 - p, p), (-8 * p, 8 * p), CLASSES[p > 0.5], None)


def failed(path: str, error: str = "empty file") -> Prediction:
    return Prediction(path, None, None, None, error)


def table(*rows: Prediction, width: int = 100, height: int = 40) -> PredictionTable:
    result = PredictionTable(CLASSES, "out.csv", width, height)
    for row in rows:
        result.add(row)
    return result


def test_text_shows_the_positive_score_of_two_classes() -> None:
    assert table(scored("a.png"), scored("folder/b.png", 0.1)).text() == (
        "path          score_PNEUMONIA  label\n"
        "a.png                  0.7500  PNEUMONIA\n"
        "folder/b.png           0.1000  NORMAL"
    )


def test_text_shows_every_score_of_three_classes() -> None:
    shown = PredictionTable(("A", "B", "C"), "out.csv", 100, 40)
    shown.add(Prediction("x.png", (0.2, 0.7, 0.1), (-1.0, 2.0, -3.0), "B", None))
    assert shown.text() == (
        "path   score_A  score_B  score_C  label\n"
        "x.png   0.2000   0.7000   0.1000  B"
    )  # fmt: skip


def test_text_shows_the_error_of_an_image_without_a_score() -> None:
    line = table(failed("a.png"), scored("b.png")).text().splitlines()[1]
    assert line == "a.png                -  error: empty file"


def test_text_cuts_the_start_of_paths_and_the_end_of_errors() -> None:
    rows = [scored("very/" * 20 + "deep.png"), failed("b.png", "much " * 20)]
    lines = table(*rows, width=80).text().splitlines()
    assert list(map(len, lines[1:])) == [59, 80]
    assert lines[1].startswith("...")
    assert "/deep.png  " in lines[1]
    assert lines[2].endswith("...")


@given(st.integers(1, 60), st.integers(1, 60))
def test_text_fits_the_height_of_the_screen(rows: int, height: int) -> None:
    text = table(*[scored("a.png")] * rows, height=height).text()
    left = rows - max(height - 8, 5)
    lines = text.splitlines()
    assert len(lines) <= max(height - 6, 7)
    assert (lines[-1] == f"... and {left} more in out.csv") == (left > 0)


def test_counts_include_rows_that_are_not_shown() -> None:
    rows = [*[scored("a.png")] * 1200, *[scored("b.png", 0.2)] * 30]
    assert table(*rows).counts() == "30 NORMAL, 1,200 PNEUMONIA"
    assert table(*rows, failed("c.png")).counts() == "30 NORMAL, 1,200 PNEUMONIA, 1 without a score"


def test_failures_lists_the_first_reasons() -> None:
    assert table(scored("a.png"), failed("b.png"), failed("c.png", "not an image")).failures() == (
        "2 of 3 images could not be scored: b.png: empty file; c.png: not an image"
    )
    assert table(*[failed("a.png")] * 9).failures().endswith("a.png: empty file; ...")


def test_table_shows_hostile_names_and_errors_in_one_line_each() -> None:
    shown = PredictionTable(("A\x1b[1m", "B"), "out.csv", 100, 40)
    shown.add(failed("a\n\u202e.png", "\x1b]0;x\x07"))
    assert shown.text().splitlines()[1].startswith(r"a\n\u202e.png  ")
    for text in (*shown.text().split("\n"), shown.counts(), shown.failures()):
        assert text.isprintable()
