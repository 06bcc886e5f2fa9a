"""``python -m xray_hpc.collect`` and ``jobs/collect.py``, as a user and a job run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hold import Hold
from tests.report.synthetic import three_models, write_run
from xray_hpc.records.atomic_files import file_lock
from xray_hpc.records.paths import SweepPaths

REPOSITORY = Path(__file__).parents[1]
VERB = ("-m", "xray_hpc.collect")
HEAVY = ("tensorflow", "keras", "hydra", "submitit")


def python(
    *words: str, cwd: Path = REPOSITORY, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **(env or {})},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def without(modules: tuple[str, ...], *words: str) -> subprocess.CompletedProcess[str]:
    """Run the verb where importing any of ``modules`` fails."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))"
    run = f"sys.argv = ['collect', *{words!r}]"
    module = "runpy.run_module('xray_hpc.collect', run_name='__main__')"
    return python("-c", f"{blocked}; {run}; import runpy; {module}")


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    return three_models(tmp_path / "results" / "models")


@pytest.mark.parametrize("command", [VERB, ("jobs/collect.py",)], ids=["verb", "job"])
def test_it_prints_the_comparison_and_where_the_report_is(
    sweep: SweepPaths, command: tuple[str, ...]
) -> None:
    ended = python(*command, str(sweep.folder))
    assert (ended.returncode, ended.stderr) == (0, "")
    table, paths = ended.stdout.split("\n\n", 2)[1:]
    assert [line.split("-")[0] for line in table.splitlines()[2:]] == ["ft", "tl", "cnn"]
    assert paths.splitlines()[0] == str(sweep.report / "report.md")
    assert all(Path(path).is_file() for path in paths.splitlines())


def test_it_needs_neither_tensorflow_nor_the_launcher(sweep: SweepPaths) -> None:
    ended = without(HEAVY, str(sweep.folder))
    assert (ended.returncode, ended.stderr) == (0, "")


def test_help_is_light() -> None:
    ended = without((*HEAVY, "numpy", "pandas", "sklearn", "matplotlib", "omegaconf"), "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("usage: python -m xray_hpc.collect [-h] SWEEP")


def test_a_mistake_is_one_line_and_exit_2(sweep: SweepPaths) -> None:
    ended = python(*VERB, "results/modles", cwd=sweep.folder.parents[1])
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "error: there is no sweep 'results/modles' in results; did you mean 'models'?\n"
    )


def test_the_sweep_may_be_the_current_folder(sweep: SweepPaths) -> None:
    ended = python(*VERB, ".", cwd=sweep.folder)
    assert ended.returncode == 0
    assert (sweep.report / "report.md").read_text().startswith("# Sweep models\n")


def test_names_print_on_a_terminal_that_knows_ascii_only(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path / "odd")
    write_run(sweep, "modèle", status="created")
    ended = python(*VERB, str(sweep.folder), env={"PYTHONIOENCODING": "ascii"})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert r"created  mod\xe8le-" in ended.stdout


def test_a_second_collector_waits_for_the_first(sweep: SweepPaths) -> None:
    with file_lock(sweep.report / ".lock"):
        second = subprocess.Popen(
            [sys.executable, *VERB, str(sweep.folder)],
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert second.stderr is not None
        assert second.stderr.readline() == "waiting for another collector to end\n"
        assert not (sweep.report / "report.md").exists()
    with second:
        assert second.wait(60) == 0
    assert (sweep.report / "report.md").exists()


def test_killed_between_two_files_it_leaves_old_files_or_new_and_the_next_one_mends_all(
    sweep: SweepPaths, tmp_path: Path
) -> None:
    hidden, run = sweep.folder / "hidden", sorted(sweep.runs.iterdir())[0]
    run.rename(hidden)
    old = report(sweep)
    hidden.rename(run)
    left = []
    for name in ("epochs.csv", "runs.csv", "report.md"):
        hold = Hold(tmp_path / f"{name}.hold", "xray_hpc.collect", f"/{name}")
        hold.begin()
        command = [sys.executable, *VERB, str(sweep.folder)]
        with subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=os.environ | hold.environment,
            stdout=subprocess.DEVNULL,
        ) as collect:
            hold.wait_for(collect)
            collect.kill()
        hold.release()
        left.append(shown(sweep))
    new = report(sweep)
    assert all(files[name] in (old[name], new[name]) for files in left for name in files)
    shutil.rmtree(sweep.report)
    assert report(sweep) == new


def report(sweep: SweepPaths) -> dict[str, bytes]:
    """The whole report, collected."""
    assert python(*VERB, str(sweep.folder)).returncode == 0
    return shown(sweep)


def shown(sweep: SweepPaths) -> dict[str, bytes]:
    found = (path for path in sweep.report.iterdir() if not path.name.startswith("."))
    return {path.name: path.read_bytes() for path in found}
