"""What several runs share is computed in one pass, and is what each of them would compute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.computing import (
    CONFIG,
    assert_equal,
    changed,
    compute,
    model_of,
    noise,
    strategy,
    wanted,
)
from xray_hpc.config.run_config import ModelConfig, RunConfig
from xray_hpc.features import store
from xray_hpc.records.frozen_run import FrozenRun, Inputs
from xray_hpc.training import precompute
from xray_hpc.training.train_run import prepare_devices

TL = ModelConfig("tl", "demo", "demo", head_units=4, head_dropout=0.1)
CONFIGS = {
    "ft at 5": CONFIG,
    "ft at 5, in float16": changed(train_features="float16"),
    "ft at 10": changed(model_unfreeze=10),
    "tl": changed(model=TL),
    "tl, other images": changed(model=TL, seed=4),
    "tl, random weights": changed(model=TL, model_weights="none"),
}


@pytest.fixture(scope="module", autouse=True)
def _as_in_a_run() -> Iterator[None]:
    prepare_devices()
    yield
    model_of.cache_clear()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache after one call for all runs, and how many passes that were."""
    cache, passes = tmp_path_factory.mktemp("shared"), 0
    fill = store.fill

    def counted(*words: object) -> None:
        nonlocal passes
        passes += 1
        fill(*words)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precompute, "load_data", lambda config, cache: noise())
        patch.setattr(precompute, "check_inputs", lambda run, data: None)
        patch.setattr(store, "fill", counted)
        precompute.compute_features(
            [frozen(config, cache) for config in CONFIGS.values()], strategy()
        )
    assert passes == 3  # for the first four runs one
    return cache


def frozen(config: RunConfig, cache: Path) -> FrozenRun:
    weights = {"demo": "0" * 64} if config.model.weights == "demo" else {}
    return FrozenRun(config, Inputs("", weights), cache)


@pytest.mark.parametrize("name", CONFIGS)
def test_each_run_finds_what_it_would_compute_itself(
    tmp_path: Path, shared: Path, name: str
) -> None:
    config = CONFIGS[name]
    assert_equal(wanted(shared, config).read(), compute(tmp_path, config))
