"""What a launch says of cached features: what is saved, and what that takes of the disk."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from xray_hpc.launching.announce import show_cached_features

EPOCHS = "train.epochs=20"


def said(composer: Any, capsys: pytest.CaptureFixture[str], *jobs: list[str]) -> str:
    plan = composer.plan(*([EPOCHS, *words] for words in jobs))
    show_cached_features(plan, [run.name for run in plan.runs])
    return str(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def _beside_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_sweep_says_what_is_computed_once_and_kept(
    composer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = [[f"train.learning_rate={rate}"] for rate in ("1e-4", "1e-3")]
    text = said(composer, capsys, *rates, ["model.name=cnn"])
    pattern = (
        r"cached features: one pass over the images for 2 runs on 4 views of each image, about "
        r"(\d+) times less work, (\d+) KiB in \.cache \(train\.features=off is without\)\n"
    )
    found = re.fullmatch(pattern, text)
    assert found, text
    assert int(found[1]) > 1
    alone = said(composer, capsys, *rates[:1])
    assert f" {found[2]} KiB in .cache" in alone


def test_what_is_kept_in_float32_takes_twice_as_much(
    composer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = [
        int(re.findall(r"(\d+) KiB", said(composer, capsys, [f"train.features={kept}"]))[0])
        for kept in ("float16", "float32")
    ]
    assert 1.5 < sizes[1] / sizes[0] < 2  # validation and test images are in float32 anyway


def test_a_disk_with_too_little_room_is_told_of(
    composer: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2048))
    text = said(composer, capsys, [])
    assert text.endswith("note: .cache has 2 KiB free; cache=FOLDER puts it elsewhere\n")


def test_little_that_is_saved_is_not_said_but_what_is_kept_is(
    composer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = composer.plan(["train.epochs=2", "augment.views=2"])
    show_cached_features(plan, [run.name for run in plan.runs])
    line = r"cached features: one pass over the images for 1 run on 2 views of each image, \d+ KiB"
    assert re.match(line, capsys.readouterr().out.strip())


def test_runs_that_have_a_feature_extractor_and_keep_nothing_of_it_are_counted(
    composer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [["model.unfreeze=20"], ["train.features=off"], ["model.name=cnn"]]
    assert said(composer, capsys, *jobs).startswith(
        "cached features: 2 runs without (train.features"
    )


def test_models_without_a_feature_extractor_are_passed_over_in_silence(
    composer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(composer, capsys, ["model.name=cnn"]) == ""
