from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xray_hpc.config.run_config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from xray_hpc.config.train_config import TrainConfig
from xray_hpc.data.augmentation_figure import NamedAugmentation
from xray_hpc.data.stage_data import stage_data, used_augmentations
from xray_hpc.records.frozen_run import FrozenRun, Inputs, write_frozen_run
from xray_hpc.records.paths import SweepPaths

LARCC = AugmentConfig(zoom=0.1, height_shift=0.1, width_shift=0.1)
ODD = AugmentConfig(rotation=3)


@pytest.fixture
def make_run(
    tmp_path: Path, data_config: Callable[..., DataConfig]
) -> Callable[[AugmentConfig], FrozenRun]:
    """``make_run(augment, seed=1, crop=0.5)`` freezes a run of the sweep ``tmp_path/sweep``."""

    def make(augment: AugmentConfig, seed: int = 1, data: str = "d", **changes: Any) -> FrozenRun:
        config = RunConfig(
            data=data_config(Path("/xrays"), **changes),
            model=ModelConfig("cnn"),
            augment=augment,
            train=TrainConfig(epochs=1, batch_size=8, learning_rate=1e-3),
            seed=seed,
        )
        run = FrozenRun(config, Inputs(data), tmp_path / "cache")
        write_frozen_run(SweepPaths(tmp_path / "sweep").run(run.name), run)
        return run

    return make


def test_used_augmentations_are_distinct_and_named(
    tmp_path: Path, make_run: Callable[..., FrozenRun]
) -> None:
    run = make_run(LARCC)
    for augment, seed in ((LARCC, 2), (ODD, 1), (AugmentConfig(), 1)):
        make_run(augment, seed=seed)
    make_run(AugmentConfig(shear=5), image_size=9)
    make_run(AugmentConfig(shear=5), data="other images")
    make_run(LARCC, crop=0.5)
    assert used_augmentations(SweepPaths(tmp_path / "sweep"), run) == [
        NamedAugmentation("as given", ODD, 1.0),
        NamedAugmentation("larcc", LARCC, 0.5),
        NamedAugmentation("larcc", LARCC, 1.0),
        NamedAugmentation("none", AugmentConfig(), 1.0),
    ]


def test_used_augmentations_ignore_a_damaged_config(
    tmp_path: Path, make_run: Callable[..., FrozenRun]
) -> None:
    sweep = SweepPaths(tmp_path / "sweep")
    run, other = make_run(LARCC), make_run(ODD)
    sweep.run(other.name).config.write_text("data: {}\n")
    assert used_augmentations(sweep, run) == [NamedAugmentation("larcc", LARCC, 1.0)]


@pytest.mark.parametrize(("augment", "drawn"), [(AugmentConfig(), False), (LARCC, True)])
def test_stage_data_draws_augmentations_if_any(
    tmp_path: Path, tree: Path, data_config: Callable[..., DataConfig], augment: Any, drawn: bool
) -> None:
    sweep = SweepPaths(tmp_path / "sweep")
    shown = [NamedAugmentation("this", augment, 1.0)]
    folder = stage_data(data_config(tree), tmp_path / "cache", sweep, shown, seed=1)
    assert (folder / "augmentations.png").exists() == drawn
    assert (folder / "index.csv").read_text().startswith("file,label,class,patient,split\n")
