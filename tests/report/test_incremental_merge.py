"""Collecting step by step gives what collecting at once gives, and reads what changed only."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.synthetic import LUNGS, Drawn, write_run
from xray_hpc.records.atomic_files import write_json
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.report import incremental_merge
from xray_hpc.report.incremental_merge import FACTS, FILES, INDEX, RunSource, merge, read_piece
from xray_hpc.report.merged_tables import BY_RUN
from xray_hpc.report.read_run import read_run
from xray_hpc.report.run_cache import facts_of, file_version, run_of
from xray_hpc.report.run_result import RunResult

SMALL = {"validation": 5, "test": 4}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> SweepPaths:
    """Runs that tests take copies of: of two classes, of three, without a result, damaged."""
    sweep = SweepPaths(tmp_path_factory.mktemp("drawn"))
    two, three = Drawn(epochs=2, images=SMALL), Drawn(epochs=2, images=SMALL, classes=LUNGS)
    write_run(sweep, "cnn", two)
    write_run(sweep, "ft", two, train__learning_rate=0.5)
    write_run(sweep, "lung", three)
    write_run(sweep, "tl", two, status="interrupted")
    write_run(sweep, "vgg", two).metrics.unlink()
    return sweep


@pytest.fixture
def sweep(drawn: SweepPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepPaths:
    """All of the runs, whose files have long been the same."""
    monkeypatch.setattr(incremental_merge, "SETTLED_SECONDS", -3600)
    shutil.copytree(drawn.folder, tmp_path / "sweep")
    return SweepPaths(tmp_path / "sweep")


def names(sweep: SweepPaths) -> list[str]:
    return sorted(path.name for path in sweep.runs.iterdir())


def merged(sweep: SweepPaths, report: Path | None = None) -> dict[str, bytes]:
    """What the tables are after they were merged once more."""
    folder = report or sweep.report
    merge(folder, [RunSource(sweep.run(name)) for name in names(sweep)])
    return {file: (folder / file).read_bytes() for file in BY_RUN}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that are read from now on."""
    found: list[str] = []

    def noting(asked: RunSource) -> incremental_merge.Piece:
        found.append(asked.paths.name.split("-")[0])
        return read_piece(asked)

    monkeypatch.setattr(incremental_merge, "read_piece", noting)
    return found


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from("+-~*"), st.integers(0, 9)), max_size=6))
def test_step_by_step_gives_the_same_bytes_as_at_once(
    drawn: SweepPaths, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """``+`` a run is added, ``-`` removed, ``~`` changed, ``*`` the tables are merged."""
    folder = tmp_path_factory.mktemp("steps")
    sweep = SweepPaths(folder)
    sweep.runs.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental_merge, "SETTLED_SECONDS", -3600)
        for step, number in steps:
            run = sweep.run(names(drawn)[number % len(names(drawn))])
            if step == "*":
                merged(sweep)
            elif run.folder.exists():
                _change(run, step, number)
            elif step == "+":
                shutil.copytree(drawn.run(run.name).folder, run.folder)
        assert merged(sweep) == merged(sweep, folder / "at-once")


def _change(run: RunPaths, step: str, number: int) -> None:
    if step == "-":
        shutil.rmtree(run.folder)
    elif step == "~" and (files := sorted(run.folder.glob("*.csv"))):
        path = files[number % len(files)]
        path.write_bytes(path.read_bytes().replace(b"0.", b"0.1", 1))


def test_only_finished_runs_are_not_read_again(sweep: SweepPaths, read: list[str]) -> None:
    first = merged(sweep)
    assert read == ["cnn", "ft", "lung", "tl", "vgg"]
    read.clear()
    assert merged(sweep) == first
    assert read == ["tl", "vgg"]


def test_a_run_that_was_not_read_is_what_it_was(sweep: SweepPaths) -> None:
    asked = [RunSource(sweep.run(name)) for name in names(sweep)]
    once, again = merge(sweep.report, asked), merge(sweep.report, asked)
    assert list(map(plain, again)) == list(map(plain, once))
    assert [run.finished for run in again] == [True, True, True, False, False]


def plain(run: RunResult) -> dict[str, Any]:
    """A run without arrays, which do not compare."""
    epochs = {name: column.tolist() for name, column in (run.epochs or {}).items()}
    curves = {split: points.tolist() for split, points in run.curves.items()}
    return vars(run) | {"epochs": epochs, "curves": curves}


def test_a_removed_run_takes_its_rows_along(sweep: SweepPaths) -> None:
    merged(sweep)
    (gone,) = (name for name in names(sweep) if name.startswith("ft"))
    shutil.rmtree(sweep.run(gone).folder)
    assert not any(gone.encode() in table for table in merged(sweep).values())


@pytest.mark.parametrize("replaced", [False, True], ids=["rewritten", "replaced"])
def test_a_file_of_the_same_size_and_time_is_another(
    sweep: SweepPaths, read: list[str], *, replaced: bool
) -> None:
    merged(sweep)
    (name,) = (name for name in names(sweep) if name.startswith("ft"))
    path = sweep.run(name).loss("ft")
    before, text = path.stat(), path.read_text()
    if replaced:
        path.rename(path.with_suffix(".old"))
    path.write_text(text.replace("0.", "1.", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    read.clear()
    assert f"{name},ft,0,".encode() in merged(sweep)["epochs.csv"]
    assert "ft" in read


def test_what_has_just_changed_is_looked_at_again(
    sweep: SweepPaths, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another change in the same tick of the clock would not show."""
    monkeypatch.setattr(incremental_merge, "SETTLED_SECONDS", 3600)
    merged(sweep)
    read.clear()
    merged(sweep)
    assert len(read) == 5


def _older(sweep: SweepPaths) -> None:
    index = json.loads((sweep.report / INDEX).read_text())
    write_json(sweep.report / INDEX, index | {"code": "of another version"})


def _foreign(sweep: SweepPaths) -> None:
    """The report of a copy of the sweep, in which a number is another."""
    other = sweep.report.rename(sweep.report.with_name("other"))
    shutil.copytree(other, sweep.report)
    path = sweep.report / "scores.csv"
    path.write_bytes(path.read_bytes().replace(b"0.", b"7.", 1))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_older, id="older"),
        pytest.param(_foreign, id="foreign"),
        *(
            pytest.param(lambda sweep, file=file: (sweep.report / file).unlink(), id=f"no {file}")
            for file in (*FILES, INDEX)
        ),
        *(
            pytest.param(
                lambda sweep, text=text: (sweep.report / INDEX).write_text(text), id=f"index {text}"
            )
            for text in ("", "[]", "{}", '{"code": 1, "files": [], "runs": []}')
        ),
    ],
)
def test_a_report_that_is_not_to_be_trusted_is_made_anew(
    sweep: SweepPaths, read: list[str], spoil: Any
) -> None:
    whole = merged(sweep)
    spoil(sweep)
    read.clear()
    assert merged(sweep) == whole
    assert len(read) == 5


def test_facts_that_make_no_sense_are_read_anew(sweep: SweepPaths, read: list[str]) -> None:
    whole = merged(sweep)
    index = json.loads((sweep.report / INDEX).read_text())
    facts = sweep.report / FACTS
    facts.write_bytes(b"x" * facts.stat().st_size)
    index["files"][FILES.index(FACTS)] = file_version(facts)
    write_json(sweep.report / INDEX, index)
    read.clear()
    assert merged(sweep) == whole
    assert len(read) == 5


def test_a_config_that_json_would_change_is_not_kept(sweep: SweepPaths) -> None:
    (name,) = (name for name in names(sweep) if name.startswith("ft"))
    run = sweep.run(name)
    assert (facts := facts_of(read_run(run)))
    assert plain(run_of(facts)) == plain(read_run(run).without_tables())
    for odd in ("{1: a}", "2026-11-22", ".nan", "!!set {a}"):
        run.config.write_text(f"data: {{list: [{odd}]}}\n")
        assert facts_of(read_run(run)) is None


KILLED = """
import os, sys; from pathlib import Path
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.incremental_merge import RunSource, merge
sweep, last = SweepPaths(Path(sys.argv[1])), int(sys.argv[2])
replace, done = os.replace, []
def dying(*paths):
    if len(done) == last: os.kill(os.getpid(), 9)
    done.append(replace(*paths))
os.replace = dying
names = sorted(path.name for path in sweep.runs.iterdir())
merge(sweep.report, [RunSource(sweep.run(name)) for name in names])
"""


@pytest.mark.parametrize("files", range(5))
def test_killed_between_two_files_it_leaves_each_old_or_new(sweep: SweepPaths, files: int) -> None:
    old = merged(sweep)
    shutil.rmtree(sweep.run(names(sweep)[0]).folder)
    command = [sys.executable, "-c", KILLED, str(sweep.folder), str(files)]
    assert subprocess.run(command, cwd=Path(__file__).parents[2]).returncode == -signal.SIGKILL
    left = {file: (sweep.report / file).read_bytes() for file in BY_RUN}
    new = merged(sweep, sweep.folder / "anew")
    assert all(left[file] in (old[file], new[file]) for file in BY_RUN)
    assert sum(left[file] == new[file] for file in BY_RUN) == max(min(files, 4) - 1, 0)
    assert merged(sweep) == new
