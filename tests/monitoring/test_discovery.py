from __future__ import annotations

from pathlib import Path

import pytest

from tests.run_folders import Sweep
from xray_hpc.errors import ConfigError
from xray_hpc.monitoring.discovery import find_run, find_sweep, find_sweeps, run_names


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a folder with two sweeps that share a run name, and other folders."""
    results = tmp_path / "results"
    (results / ".cache" / "runs").mkdir(parents=True)
    (results / "example").mkdir()
    for name in ("models", "lr"):
        Sweep(results / name).add("ft-1a2b3c4d")
    (results / "lr" / "runs" / "ft-1a999999").mkdir()
    return results


def test_find_sweeps_recognizes_sweeps_by_their_files(results: Path) -> None:
    assert [sweep.name for sweep in find_sweeps(results)] == ["lr", "models"]
    assert find_sweeps(results / "nowhere") == []


@pytest.mark.parametrize("text", ["lr", "results/lr", "results/lr/"])
def test_find_sweep_accepts_a_name_or_a_folder(
    results: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results.parent)
    assert find_sweep(text, Path("results")).folder == Path("results/lr")


def test_find_sweep_accepts_the_current_folder(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results / "lr")
    assert find_sweep(".", Path("results")).name == "lr"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modles", "there is no sweep 'modles' in {}; did you mean 'models'?"),
        ("x", "there is no sweep 'x' in {}; choose one of lr, models"),
        ("{}", "{} holds several sweeps; name one of them: lr, models"),
        ("{}/lr/runs", "name the sweep: {}/lr"),
        ("{}/lr/runs/ft-1a2b3c4d", "name its sweep: {}/lr"),
    ],
)
def test_find_sweep_suggests_what_was_meant(results: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        find_sweep(text.format(results), results)
    assert str(error.value).endswith(message.format(results))


def test_find_sweep_without_any_sweep_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"nor any other in {tmp_path}; give its folder"):
        find_sweep("lr", tmp_path)


def test_run_names_are_in_launch_order_then_sorted(results: Path) -> None:
    sweep = find_sweep("lr", results)
    assert run_names(sweep) == ["ft-1a2b3c4d", "ft-1a999999"]


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("ft-1a9", "lr/runs/ft-1a999999"),
        ("lr/ft-1a2", "lr/runs/ft-1a2b3c4d"),
        ("models/ft", "models/runs/ft-1a2b3c4d"),
    ],
)
def test_find_run_accepts_the_start_of_a_name(results: Path, text: str, run: str) -> None:
    assert find_run(text, results).folder == results / run


def test_find_run_accepts_a_folder(results: Path, tmp_path: Path) -> None:
    folder = results / "models" / "runs" / "ft-1a2b3c4d"
    assert find_run(str(folder), tmp_path).folder == folder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ft-1a2b3c4d", "2 runs: lr/ft-1a2b3c4d, models/ft-1a2b3c4d; type more of the name"),
        ("lr/ft", "2 runs: lr/ft-1a2b3c4d, lr/ft-1a999999; type more of the name"),
        ("", "'' names no run; give a run's folder or the start of its name"),
        ("fft-1a2b3c4d", "there is no run 'fft-1a2b3c4d' in {}; did you mean 'ft-1a2b3c4d'?"),
        ("rl/ft", "there is no sweep 'rl' in {}; did you mean 'lr'?"),
    ],
)
def test_find_run_suggests_candidates(results: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        find_run(text, results)
    assert str(error.value).endswith(message.format(results))


@pytest.mark.parametrize("text", ["lr", "{}/lr", "{}/models"])
def test_find_run_of_a_sweep_names_its_runs(results: Path, text: str) -> None:
    text = text.format(results)
    with pytest.raises(ConfigError) as error:
        find_run(text, results)
    names = ", ".join(run_names(find_sweep(text, results)))
    assert str(error.value) == f"{text} is a sweep; name one of its runs: {names}"
