from __future__ import annotations

from pathlib import Path

import pytest

from tests.run_folders import Sweep
from xray_hpc.errors import UserError
from xray_hpc.monitoring.discovery import find_run, find_sweep, find_sweeps, run_names


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two sweeps that share a run, beside what is none."""
    results = tmp_path / "results"
    (results / ".cache" / "runs").mkdir(parents=True)
    (results / "example").mkdir()
    for name in ("models", "lr"):
        Sweep(results / name).add("ft-1a2b3c4d")
    (results / "lr" / "runs" / "ft-1a999999").mkdir()
    return results


def test_sweeps_are_found_by_what_they_hold(results: Path) -> None:
    assert [sweep.name for sweep in find_sweeps(results)] == ["lr", "models"]
    assert find_sweeps(results / "nowhere") == []


@pytest.mark.parametrize("text", ["lr", "results/lr", "results/lr/"])
def test_a_sweep_is_named_or_its_folder_given(
    results: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results.parent)
    assert find_sweep(text, Path("results")).folder == Path("results/lr")


def test_the_folder_may_be_the_current_one(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results / "lr")
    assert find_sweep(".", Path("results")).name == "lr"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modles", "there is no sweep 'modles' in {}; did you mean 'models'?"),
        ("x", "there is no sweep 'x' in {} (there are: lr, models)"),
        ("{}", "{} holds sweeps and is none itself; name one of them: lr, models"),
    ],
)
def test_a_sweep_that_is_not_there_is_answered_with_the_nearest(
    results: Path, text: str, said: str
) -> None:
    with pytest.raises(UserError) as error:
        find_sweep(text.format(results), results)
    assert str(error.value) == said.format(results)


def test_runs_are_listed_in_launch_order_then_by_name(results: Path) -> None:
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
def test_a_run_is_named_by_the_start_of_its_name(results: Path, text: str, run: str) -> None:
    assert find_run(text, results).folder == results / run


def test_a_run_may_be_given_by_its_folder(results: Path, tmp_path: Path) -> None:
    folder = results / "models" / "runs" / "ft-1a2b3c4d"
    assert find_run(str(folder), tmp_path).folder == folder


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ft-1a2b3c4d", "2 runs: lr/ft-1a2b3c4d, models/ft-1a2b3c4d; give more of it"),
        ("lr/ft", "2 runs: lr/ft-1a2b3c4d, lr/ft-1a999999; give more of it"),
        ("fft-1a2b3c4d", "there is no run 'fft-1a2b3c4d' in {}; did you mean 'ft-1a2b3c4d'?"),
        ("rl/ft", "there is no sweep 'rl' in {}; did you mean 'lr'?"),
    ],
)
def test_a_run_that_is_not_clear_is_answered_with_candidates(
    results: Path, text: str, said: str
) -> None:
    with pytest.raises(UserError) as error:
        find_run(text, results)
    assert str(error.value).endswith(said.format(results))
