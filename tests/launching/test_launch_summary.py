from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import Composer
from xray_hpc.launching.launch_summary import print_cached_features, print_decisions
from xray_hpc.monitoring.run_state import LaunchDecision

EPOCHS = "train.epochs=20"


def summary(composer: Composer, capsys: pytest.CaptureFixture[str], *jobs: list[str]) -> str:
    plan = composer.plan(*([EPOCHS, *words] for words in jobs))
    print_cached_features(plan, [run.name for run in plan.runs])
    return str(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def in_the_results_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("runs", [3, 30])
def test_print_decisions_shows_the_resolved_learning_rates(
    composer: Composer, capsys: pytest.CaptureFixture[str], runs: int
) -> None:
    rates = [f"{number}e-5" for number in range(1, runs)]
    words = [["model.name=cnn"], *([f"train.learning_rate={rate}"] for rate in rates)]
    plan = composer.plan(*words)
    print_decisions(plan, {run.name: LaunchDecision(True, "new") for run in plan.runs})
    _, *lines = capsys.readouterr().out.splitlines()
    resolved = [run.config.train.learning_rate for run in plan.runs]
    assert resolved[1:] == list(map(float, rates))
    if runs == 3:
        shown = [line.rpartition("  learning rate ")[2] for line in lines]
        assert list(map(float, shown)) == resolved
    else:
        least = ", ".join(f"{rate:g}" for rate in sorted(resolved)[:20])
        assert lines[-1] == f"  learning rates: {least}, ..."


def test_print_cached_features_shows_the_saving_and_the_size(
    composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = [[f"train.learning_rate={rate}"] for rate in ("1e-4", "1e-3")]
    text = summary(composer, capsys, *rates, ["model.name=cnn"])
    pattern = (
        r"cached features: one pass over the images for 2 runs on 4 views of each image, about "
        r"(\d+) times less work, (\d+) KiB in \.cache \(.*\)\n"
    )
    found = re.fullmatch(pattern, text)
    assert found, text
    assert int(found[1]) > 1
    alone = summary(composer, capsys, *rates[:1])
    assert f" {found[2]} KiB in .cache" in alone


def test_print_cached_features_shows_twice_the_size_in_float32(
    composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = [
        int(re.findall(r"(\d+) KiB", summary(composer, capsys, [f"train.features={dtype}"]))[0])
        for dtype in ("float16", "float32")
    ]
    assert 1.5 < sizes[1] / sizes[0] < 2  # validation and test images are in float32 anyway


def test_print_cached_features_notes_a_disk_with_too_little_space(
    composer: Composer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2048))
    text = summary(composer, capsys, [])
    assert "note: .cache has 2 KiB free" in text


def test_print_cached_features_leaves_out_a_small_saving(
    composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = composer.plan(["train.epochs=2", "augment.views=2"])
    print_cached_features(plan, [run.name for run in plan.runs])
    line = r"cached features: one pass over the images for 1 run on 2 views of each image, \d+ KiB"
    assert re.match(line, capsys.readouterr().out.strip())


def test_print_cached_features_counts_runs_with_features_off(
    composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [["model.unfreeze=20"], ["train.features=off"], ["model.name=cnn"]]
    assert summary(composer, capsys, *jobs).startswith("cached features: off for 2 runs")


def test_print_cached_features_prints_nothing_for_models_without_an_extractor(
    composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert summary(composer, capsys, ["model.name=cnn"]) == ""
