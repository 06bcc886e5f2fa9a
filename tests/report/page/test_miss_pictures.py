"""Tests of reading the pictures of worst misses, whose table may be wrong."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import pytest

from xray_hpc.records.paths import RunPaths
from xray_hpc.report.page.miss_pictures import PNG, MissPicture, read_miss_pictures

CLASSES = ("NORMAL", "PNEUMONIA")
HEAD = "split,rank,file,patient,y_true,predicted,image\n"


def read(run: RunPaths, rows: Sequence[str], most: int = 2) -> list[MissPicture]:
    run.worst_misses("cnn").write_text(HEAD + "".join(f"{row}\n" for row in rows))
    return read_miss_pictures(run, "cnn", CLASSES, most)


@pytest.fixture
def pictured(run: RunPaths) -> RunPaths:
    """A run with two pictures."""
    run.worst_miss_figures.mkdir(parents=True)
    for name in ("test_1.png", "test_2.png"):
        (run.worst_miss_figures / name).write_bytes(PNG + name.encode())
    (run.folder / "secret.png").write_bytes(PNG)
    return run


def test_read_miss_pictures_returns_the_worst_of_each_split(pictured: RunPaths) -> None:
    rows = [f"test,{i},a{i}.jpeg,p{i},0,1,figures/worst_misses/test_{i}.png" for i in (1, 2)]
    png = base64.b64encode(PNG + b"test_1.png").decode()
    expected = MissPicture("test", "a1.jpeg", "p1", "NORMAL", "PNEUMONIA", png)
    assert read(pictured, rows, most=1) == [expected]
    assert len(read(pictured, rows)) == 2


@pytest.mark.parametrize(
    "row",
    [
        "test,1,a.jpeg,p,0,1,figures/worst_misses/../../secret.png",
        "test,1,a.jpeg,p,0,1,/etc/passwd",
        "test,1,a.jpeg,p,0,1,figures/worst_misses/test_9.png",
        "test,1,a.jpeg,p,0,7,figures/worst_misses/test_1.png",
        "test,1,a.jpeg",
        "test,first,a.jpeg,p,0,1,figures/worst_misses/test_1.png",
    ],
)
def test_read_miss_pictures_leaves_out_what_is_wrong(pictured: RunPaths, row: str) -> None:
    assert read(pictured, [row]) == []


def test_read_miss_pictures_reads_png_files_only(pictured: RunPaths) -> None:
    (pictured.worst_miss_figures / "test_1.png").write_text("<svg onload=alert(1)>")
    assert read(pictured, ["test,1,a.jpeg,p,0,1,figures/worst_misses/test_1.png"]) == []


def test_read_miss_pictures_of_a_run_without_explanations_is_empty(run: RunPaths) -> None:
    assert read_miss_pictures(run, "cnn", CLASSES, 6) == []
