"""Tests that merging incrementally equals merging at once, and reads only changed runs."""

from __future__ import annotations

import errno
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

from tests.report.fake_runs import THREE_CLASSES, FakeRun, write_run
from xray_hpc.records.atomic_files import write_json
from xray_hpc.records.paths import RunPaths, SweepPaths
from xray_hpc.report import incremental_merge, run_cache
from xray_hpc.report.incremental_merge import (
    CACHED_RUNS,
    FILES,
    INDEX,
    RunSource,
    merge_runs,
    read_lines,
)
from xray_hpc.report.merged_tables import RUN_TABLES
from xray_hpc.report.read_run import read_run
from xray_hpc.report.run_cache import file_version, run_from_json, run_to_json
from xray_hpc.report.run_result import RunResult

SMALL = {"validation": 5, "test": 4}


@pytest.fixture(scope="module")
def template_sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepPaths:
    """Runs for tests to copy: binary, with three classes, without a result, damaged."""
    sweep = SweepPaths(tmp_path_factory.mktemp("drawn"))
    two, three = (
        FakeRun(epochs=2, images=SMALL),
        FakeRun(epochs=2, images=SMALL, classes=THREE_CLASSES),
    )
    write_run(sweep, "cnn", two)
    write_run(sweep, "ft", two, train__learning_rate=0.5)
    write_run(sweep, "lung", three)
    write_run(sweep, "tl", two, status="interrupted")
    write_run(sweep, "vgg", two).metrics.unlink()
    return sweep


@pytest.fixture
def sweep(
    template_sweep: SweepPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SweepPaths:
    """A copy of all runs, whose files count as settled."""
    monkeypatch.setattr(incremental_merge, "SETTLING_SECONDS", -3600)
    shutil.copytree(template_sweep.folder, tmp_path / "sweep")
    return SweepPaths(tmp_path / "sweep")


def names(sweep: SweepPaths) -> list[str]:
    return sorted(path.name for path in sweep.runs.iterdir())


def merged(sweep: SweepPaths, report: Path | None = None) -> dict[str, bytes]:
    """Merge the runs, and return the tables."""
    folder = report or sweep.report
    folder.mkdir(exist_ok=True)
    merge_runs(folder, [RunSource(sweep.run(name)) for name in names(sweep)])
    return {file: (folder / file).read_bytes() for file in RUN_TABLES}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models of the runs that are read during the test."""
    found: list[str] = []

    def recording(source: RunSource) -> incremental_merge.RunLines:
        found.append(source.paths.name.split("-")[0])
        return read_lines(source)

    monkeypatch.setattr(incremental_merge, "read_lines", recording)
    return found


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from("+-~*"), st.integers(0, 9)), max_size=6))
def test_incremental_merge_equals_merge_at_once(
    template_sweep: SweepPaths,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, int]],
) -> None:
    """``+`` adds a run, ``-`` removes and ``~`` changes one; ``*`` merges the tables."""
    folder = tmp_path_factory.mktemp("steps")
    sweep = SweepPaths(folder)
    sweep.runs.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental_merge, "SETTLING_SECONDS", -3600)
        for step, number in steps:
            run = sweep.run(names(template_sweep)[number % len(names(template_sweep))])
            if step == "*":
                merged(sweep)
            elif run.folder.exists():
                _change(run, step, number)
            elif step == "+":
                shutil.copytree(template_sweep.run(run.name).folder, run.folder)
        assert merged(sweep) == merged(sweep, folder / "at-once")


def _change(run: RunPaths, step: str, number: int) -> None:
    if step == "-":
        shutil.rmtree(run.folder)
    elif step == "~" and (files := sorted(run.folder.glob("*.csv"))):
        path = files[number % len(files)]
        path.write_bytes(path.read_bytes().replace(b"0.", b"0.1", 1))


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_finished_runs_are_not_read_again(sweep: SweepPaths, read: list[str]) -> None:
    first = merged(sweep)
    assert read == ["cnn", "ft", "lung", "tl", "vgg"]
    read.clear()
    assert merged(sweep) == first
    assert read == ["tl", "vgg"]


def test_cached_run_equals_the_run_that_was_read(sweep: SweepPaths) -> None:
    sources = [RunSource(sweep.run(name)) for name in names(sweep)]
    sweep.report.mkdir()
    first, second = merge_runs(sweep.report, sources), merge_runs(sweep.report, sources)
    assert list(map(plain, second)) == list(map(plain, first))
    assert [run.finished for run in second] == [True, True, True, False, False]


def plain(run: RunResult) -> dict[str, Any]:
    """Return the fields of a run with arrays as lists, which can be compared."""
    epochs = {name: column.tolist() for name, column in (run.epochs or {}).items()}
    curves = {split: points.tolist() for split, points in run.curves.items()}
    return vars(run) | {"epochs": epochs, "curves": curves}


def test_rows_of_a_removed_run_are_removed(sweep: SweepPaths) -> None:
    merged(sweep)
    (removed,) = (name for name in names(sweep) if name.startswith("ft"))
    shutil.rmtree(sweep.run(removed).folder)
    assert not any(removed.encode() in table for table in merged(sweep).values())


@pytest.mark.parametrize("replaced", [False, True], ids=["rewritten", "replaced"])
def test_rewritten_file_of_equal_size_and_mtime_is_read_again(
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
    assert f"{name},ft,1,".encode() in merged(sweep)["epochs.csv"]
    assert "ft" in read


@pytest.mark.parametrize("folder", ["folder", "figures"])
def test_changed_run_with_a_dangling_link_is_read_again(
    sweep: SweepPaths, read: list[str], folder: str
) -> None:
    """Models may have been moved to a disk that is purged."""
    (run,) = (sweep.run(name) for name in names(sweep) if name.startswith("ft"))
    linked: Path = getattr(run, folder)
    linked.mkdir(exist_ok=True)
    (linked / "purged.keras").symlink_to(sweep.folder / "purged.keras")
    merged(sweep)
    read.clear()
    merged(sweep)
    assert "ft" not in read
    run.loss("ft").write_text(run.loss("ft").read_text().replace("0.", "1.", 1))
    assert f"{run.name},ft,1,".encode() in merged(sweep)["epochs.csv"]
    assert "ft" in read
    read.clear()
    (sweep.folder / "purged.keras").touch()
    merged(sweep)
    assert "ft" in read


def test_run_whose_folder_cannot_be_listed_is_read_again(
    sweep: SweepPaths, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(folder: Path) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(run_cache.os, "scandir", denied)
    merged(sweep)
    read.clear()
    merged(sweep)
    assert read == ["cnn", "ft", "lung", "tl", "vgg"]


def test_recently_changed_runs_are_read_again(
    sweep: SweepPaths, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second change within the resolution of the clock would not be noticed."""
    monkeypatch.setattr(incremental_merge, "SETTLING_SECONDS", 3600)
    merged(sweep)
    read.clear()
    merged(sweep)
    assert len(read) == 5


def _set_other_code_version(sweep: SweepPaths) -> None:
    index = json.loads((sweep.report / INDEX).read_text())
    write_json(sweep.report / INDEX, index | {"code": "another version"})


def _replace_by_copy(sweep: SweepPaths) -> None:
    """Replace the report by a copy in which a number differs."""
    other = sweep.report.rename(sweep.report.with_name("other"))
    shutil.copytree(other, sweep.report)
    path = sweep.report / "scores.csv"
    path.write_bytes(path.read_bytes().replace(b"0.", b"7.", 1))


@pytest.mark.parametrize(
    "invalidate",
    [
        pytest.param(_set_other_code_version, id="other code"),
        pytest.param(_replace_by_copy, id="copy"),
        *(
            pytest.param(lambda sweep, file=file: (sweep.report / file).unlink(), id=f"no {file}")
            for file in (*FILES, INDEX)
        ),
        *(
            pytest.param(
                lambda sweep, name=name: replace_by_fifo(sweep.report / name), id=f"FIFO {name}"
            )
            for name in (INDEX, *FILES)
        ),
        *(
            pytest.param(
                lambda sweep, text=text: (sweep.report / INDEX).write_text(text), id=f"index {text}"
            )
            for text in ("", "[]", "{}", '{"code": 1, "files": [], "runs": []}')
        ),
    ],
)
def test_invalid_index_causes_all_runs_to_be_read(
    sweep: SweepPaths, read: list[str], invalidate: Any
) -> None:
    expected = merged(sweep)
    invalidate(sweep)
    read.clear()
    assert merged(sweep) == expected
    assert len(read) == 5


def test_invalid_cached_runs_are_read_again(sweep: SweepPaths, read: list[str]) -> None:
    expected = merged(sweep)
    index = json.loads((sweep.report / INDEX).read_text())
    cached = sweep.report / CACHED_RUNS
    cached.write_bytes(b"x" * cached.stat().st_size)
    index["files"][FILES.index(CACHED_RUNS)] = file_version(cached)
    write_json(sweep.report / INDEX, index)
    read.clear()
    assert merged(sweep) == expected
    assert len(read) == 5


def test_config_that_json_cannot_represent_is_not_cached(sweep: SweepPaths) -> None:
    (name,) = (name for name in names(sweep) if name.startswith("ft"))
    run = sweep.run(name)
    assert (line := run_to_json(read_run(run)))
    assert plain(run_from_json(line)) == plain(read_run(run).without_tables())
    for value in ("{1: a}", ".nan", "!!set {a}"):
        run.config.write_text(f"data: {{list: [{value}]}}\n")
        assert run_to_json(read_run(run)) is None


KILLED = """
import os, sys; from pathlib import Path
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report.incremental_merge import RunSource, merge_runs
sweep, last = SweepPaths(Path(sys.argv[1])), int(sys.argv[2])
replace, done = os.replace, []
def dying(*paths):
    if len(done) == last: os.kill(os.getpid(), 9)
    done.append(replace(*paths))
os.replace = dying
names = sorted(path.name for path in sweep.runs.iterdir())
merge_runs(sweep.report, [RunSource(sweep.run(name)) for name in names])
"""


@pytest.mark.parametrize("files", range(5))
def test_kill_between_files_leaves_each_file_old_or_new(sweep: SweepPaths, files: int) -> None:
    old = merged(sweep)
    shutil.rmtree(sweep.run(names(sweep)[0]).folder)
    command = [sys.executable, "-c", KILLED, str(sweep.folder), str(files)]
    assert subprocess.run(command, cwd=Path(__file__).parents[2]).returncode == -signal.SIGKILL
    left = {file: (sweep.report / file).read_bytes() for file in RUN_TABLES}
    new = merged(sweep, sweep.folder / "anew")
    assert all(left[file] in (old[file], new[file]) for file in RUN_TABLES)
    assert sum(left[file] == new[file] for file in RUN_TABLES) == max(min(files, 4) - 1, 0)
    assert merged(sweep) == new
