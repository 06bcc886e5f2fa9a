"""Tests of ``python -m xray_hpc.collect`` and ``jobs/collect.py`` as processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.hold import Hold
from tests.report.fake_runs import write_run
from tests.report.fake_sweeps import three_model_sweep
from xray_hpc import collect
from xray_hpc.config.report_settings import ReportSettings
from xray_hpc.records.file_lock import file_lock
from xray_hpc.records.paths import SweepPaths
from xray_hpc.report import collect_sweep
from xray_hpc.report.collect_sweep import Report, ReportRequest

REPOSITORY = Path(__file__).parents[1]
VERB = ("-m", "xray_hpc.collect")
HEAVY = ("tensorflow", "keras", "hydra", "submitit")


def python(
    *arguments: str, cwd: Path = REPOSITORY, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **(env or {})},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def collect_without(modules: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with imports of ``modules`` blocked."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))"
    run = f"sys.argv = ['collect', *{arguments!r}]"
    module = "runpy.run_module('xray_hpc.collect', run_name='__main__')"
    return python("-c", f"{blocked}; {run}; import runpy; {module}")


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    return three_model_sweep(tmp_path / "results" / "models")


@pytest.mark.parametrize("command", [VERB, ("jobs/collect.py",)], ids=["verb", "job"])
def test_collect_prints_the_comparison_and_paths_of_the_report(
    sweep: SweepPaths, command: tuple[str, ...]
) -> None:
    done = python(*command, str(sweep.folder))
    assert (done.returncode, done.stderr) == (0, "")
    _, table, *_, paths = done.stdout.split("\n\n")
    assert [line.split("-")[0] for line in table.splitlines()[2:]] == ["ft", "tl", "cnn"]
    assert paths.splitlines()[0] == str(sweep.report / "report.html")
    assert all(Path(path).is_file() for path in paths.splitlines())


def test_collect_imports_neither_tensorflow_nor_hydra(sweep: SweepPaths) -> None:
    done = collect_without(HEAVY, str(sweep.folder))
    assert (done.returncode, done.stderr) == (0, "")


def test_help_imports_no_large_library() -> None:
    done = collect_without(
        (*HEAVY, "numpy", "pandas", "sklearn", "matplotlib", "omegaconf"), "--help"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m xray_hpc.collect [-h]")


def test_unknown_sweep_exits_with_2_and_one_line(sweep: SweepPaths) -> None:
    done = python(*VERB, "results/modles", cwd=sweep.folder.parents[1])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: there is no sweep 'results/modles' in results; did you mean 'models'?\n"
    )


@pytest.mark.parametrize(
    ("options", "saved", "error"),
    [
        (["--select", "val_los"], "", "--select 'val_los' is unknown; did you mean 'val_loss'?"),
        ([], "report: {images: perhaps}", "sweep.yaml: report.images is 'perhaps'"),
        (["--imges"], "", "unrecognized arguments: --imges; did you mean '--images'?"),
    ],
)
def test_invalid_setting_of_the_report_exits_with_2_and_one_line(
    sweep: SweepPaths, options: list[str], saved: str, error: str
) -> None:
    sweep.sweep_yaml.write_text(saved)
    done = python(*VERB, *options, str(sweep.folder))
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ([], ReportSettings("val_auc", images=False)),
        (["--images"], ReportSettings("val_auc", images=True)),
        (["--select=val_mcc", "--no-images"], ReportSettings("val_mcc", images=False)),
    ],
)
def test_options_override_the_settings_of_the_sweep(
    sweep: SweepPaths,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    settings: ReportSettings,
) -> None:
    sweep.sweep_yaml.write_text("report: {select: val_auc, images: false}\n")
    used = []

    def spy(request: ReportRequest) -> Report:
        used.append(request.settings)
        return collect_sweep.collect(request)

    spied = SimpleNamespace(collect=spy, ReportRequest=ReportRequest)
    monkeypatch.setitem(sys.modules, collect_sweep.__name__, spied)
    monkeypatch.setattr(sys, "argv", ["collect", str(sweep.folder), *options])
    collect.main()
    assert used == [settings]


def test_one_of_several_sweeps_can_forbid_images(tmp_path: Path) -> None:
    sweeps = [SweepPaths(tmp_path / name) for name in "ab"]
    for sweep, text in zip(sweeps, ("{select: val_auc}", "{images: false}"), strict=True):
        sweep.folder.mkdir()
        sweep.sweep_yaml.write_text(f"report: {text}\n")
    unset = Namespace(select=None, images=None)
    assert collect._report_settings(sweeps, unset) == ReportSettings("val_auc", images=False)
    shown = Namespace(select=None, images=True)
    assert collect._report_settings(sweeps, shown) == ReportSettings("val_auc", images=True)


def test_sweep_may_be_the_current_folder(sweep: SweepPaths) -> None:
    done = python(*VERB, ".", cwd=sweep.folder)
    assert done.returncode == 0
    assert (sweep.report / "report.md").read_text().startswith("# Sweep models\n")


def test_names_are_escaped_on_an_ascii_terminal(tmp_path: Path) -> None:
    sweep = SweepPaths(tmp_path / "odd")
    write_run(sweep, "modèle", status="created")
    done = python(*VERB, str(sweep.folder), env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert r"created  mod\xe8le-" in done.stdout


def test_second_collector_waits_for_the_first(sweep: SweepPaths) -> None:
    with file_lock(sweep.report / ".lock"):
        second = subprocess.Popen(
            [sys.executable, *VERB, str(sweep.folder)],
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert second.stderr is not None
        assert "another collector" in second.stderr.readline()
        assert not (sweep.report / "report.md").exists()
    with second:
        assert second.wait(60) == 0
    assert (sweep.report / "report.md").exists()


def test_killed_collector_leaves_old_or_new_files_that_the_next_one_completes(
    sweep: SweepPaths, tmp_path: Path
) -> None:
    hidden, run = sweep.folder / "hidden", sorted(sweep.runs.iterdir())[0]
    run.rename(hidden)
    old = collect_report(sweep)
    hidden.rename(run)
    remaining = []
    for name in ("epochs.csv", "runs.csv", "report.md"):
        hold = Hold(tmp_path / f"{name}.hold", "xray_hpc.collect", f"/{name}")
        hold.begin()
        command = [sys.executable, *VERB, str(sweep.folder)]
        with subprocess.Popen(
            command, cwd=REPOSITORY, env=os.environ | hold.environment, stdout=subprocess.DEVNULL
        ) as collect:
            hold.wait_for(collect)
            collect.kill()
        hold.release()
        remaining.append(report_files(sweep))
    new = collect_report(sweep)
    assert all(files[name] in (old[name], new[name]) for files in remaining for name in files)
    shutil.rmtree(sweep.report)
    assert collect_report(sweep) == new


def collect_report(sweep: SweepPaths) -> dict[str, bytes]:
    """Collect the sweep, and return the files of its report."""
    assert python(*VERB, str(sweep.folder)).returncode == 0
    return report_files(sweep)


def report_files(sweep: SweepPaths) -> dict[str, bytes]:
    files = (path for path in sweep.report.rglob("*") if path.is_file())
    return {path.name: path.read_bytes() for path in files if not path.name.startswith(".")}
