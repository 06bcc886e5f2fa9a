"""Which figures are drawn, of which runs, and when."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.report.drawing import many, runs_of
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report import report_figures
from xray_hpc.report.figure_style import OTHERS, rest_label
from xray_hpc.report.report_figures import INDEX, FigureSpec, Task, draw, drawers, thinned, wanted
from xray_hpc.report.run_result import RunResult


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The figures that are drawn from now on; they are text files of some letters."""
    found: list[str] = []

    def noting(task: Task) -> bool:
        found.append(task.figure.file)
        there = task.figure.file != "learning_rate_unfreeze.png"
        if there:
            task.path.write_text("a figure")
        return there

    monkeypatch.setattr(report_figures, "draw_one", noting)
    return found


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    folder.mkdir()
    return folder


def draw_all(folder: Path, specs: Sequence[FigureSpec], *, many: bool = False) -> list[str]:
    with drawers() as pool:
        return list(draw(folder, specs, pool, many=many))


CURVES = ["accuracy.png", "loss.png", "auc.png"]
ALL = ["roc_validation.png", "roc_test.png", "confusion_test.png", *CURVES]


def test_what_shows_the_same_is_not_drawn_again(
    sweep: SweepPaths, report: Path, drawn: list[str]
) -> None:
    assert draw_all(report, wanted(runs_of(sweep))) == ALL
    assert drawn == [*ALL, "learning_rate_unfreeze.png"]
    drawn.clear()
    assert draw_all(report, wanted(runs_of(sweep))) == ALL
    assert drawn == []


def test_what_shows_something_else_is_drawn(
    sweep: SweepPaths, report: Path, drawn: list[str]
) -> None:
    draw_all(report, wanted(runs_of(sweep)))
    drawn.clear()
    runs = runs_of(sweep)
    assert runs[0].epochs is not None
    runs[0].epochs["val_loss"][0] += 0.01
    draw_all(report, wanted(runs))
    assert drawn == ALL


def test_a_run_that_is_in_no_figure_changes_none() -> None:
    runs = [RunResult(f"ft-{i}", "ft", "finished") for i in range(OTHERS + 50)]
    digests = {
        count: [figure.digest() for figure in wanted(runs[:count])[:-1]]
        for count in range(OTHERS + 9, OTHERS + 50)
    }
    assert 1 < len(set(map(tuple, digests.values()))) < 41


def test_a_figure_that_somebody_changed_or_removed_is_drawn(
    sweep: SweepPaths, report: Path, drawn: list[str]
) -> None:
    draw_all(report, wanted(runs_of(sweep)))
    drawn.clear()
    (report / "loss.png").write_text("another one")
    (report / "auc.png").unlink()
    draw_all(report, wanted(runs_of(sweep)))
    assert drawn == ["loss.png", "auc.png"]
    (report / INDEX).write_text("[]")
    drawn.clear()
    draw_all(report, wanted(runs_of(sweep)))
    assert len(drawn) == 7


def test_a_figure_that_there_is_nothing_for_is_removed(
    sweep: SweepPaths, report: Path, drawn: list[str]
) -> None:
    (report / "learning_rate_unfreeze.png").write_text("an old one")
    draw_all(report, wanted(runs_of(sweep)))
    assert not (report / "learning_rate_unfreeze.png").exists()


def test_processes_draw_the_same_bytes(
    sweep: SweepPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xray_hpc.report.process_pool.available_cpus", lambda: 2)
    monkeypatch.setattr(report_figures, "WORTH", 2)
    asked = wanted(runs_of(sweep))[1:3]
    seen = []
    for side_by_side in (False, True):
        folder = tmp_path / str(side_by_side)
        folder.mkdir()
        files = draw_all(folder, asked, many=side_by_side)
        seen.append({file: (folder / file).read_bytes() for file in files})
    assert seen[0] == seen[1]
    assert list(seen[0]) == ["roc_test.png", "confusion_test.png"]


def test_of_many_runs_the_named_and_some_of_the_others_are_drawn() -> None:
    runs = [RunResult(f"ft-{i}", "ft", "finished") for i in range(OTHERS + 100)]
    colors = {"ft-0": "red", "ft-299": "blue"}
    some = thinned(runs, colors)
    assert len(some) == OTHERS + 2
    assert [run for run in runs if run in some] == some
    assert {run.name for run in some} >= set(colors)
    assert thinned(runs[:OTHERS], colors) == runs[:OTHERS]
    assert rest_label(OTHERS) == "200 of the other runs"


def test_one_run_more_replaces_one_of_those_drawn_at_most() -> None:
    runs = [RunResult(f"ft-{i}", "ft", "finished") for i in range(OTHERS + 50)]
    changes = [
        len(
            {run.name for run in thinned(runs[: i + 1], {})}
            - {run.name for run in thinned(runs[:i], {})}
        )
        for i in range(OTHERS, OTHERS + 49)
    ]
    assert set(changes) == {0, 1}


def test_nothing_to_draw_imports_nothing_that_draws(tmp_path: Path) -> None:
    many(tmp_path / "sweep", seeds=2)
    code = (
        "import sys; from pathlib import Path; from xray_hpc.report.collect_sweep import collect\n"
        "from xray_hpc.records.paths import SweepPaths; collect(SweepPaths(Path(sys.argv[1])))\n"
        "print(*(name for name in ('matplotlib', 'pandas', 'sklearn') if name in sys.modules))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code, tmp_path / "sweep"],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert said[1] == "\n"
