"""Features of several runs, computed in one pass, equal those that each run computes itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.features.small_features import (
    CONFIG,
    assert_equal,
    cached_model,
    changed,
    compute,
    features_file,
    random_data,
    strategy,
)
from xray_hpc.config.run_config import ModelConfig, RunConfig
from xray_hpc.features import feature_store
from xray_hpc.features.forward_pass import compute_blocks
from xray_hpc.features.precompute import precompute_features
from xray_hpc.records.frozen_run import FrozenRun, Inputs
from xray_hpc.training.train_run import prepare_devices

TL = ModelConfig("tl", "demo", "demo", head_units=4, head_dropout=0.1, preprocessing="backbone")
CONFIGS = {
    "ft at 5": CONFIG,
    "ft at 5, in float16": changed(train_features="float16"),
    "ft at 10": changed(model_unfreeze=10),
    "tl": changed(model=TL),
    "tl, other images": changed(model=TL, seed=4),
    "tl, random weights": changed(model=TL, model_weights="none"),
}


@pytest.fixture(scope="module", autouse=True)
def _prepared_devices() -> Iterator[None]:
    prepare_devices()
    yield
    cached_model.cache_clear()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder after one call for all runs."""
    cache = tmp_path_factory.mktemp("shared")
    runs = [frozen(config, cache) for config in CONFIGS.values()]
    with patch.object(feature_store, "compute_blocks", wraps=compute_blocks) as one_pass:
        precompute_features(runs, strategy(), lambda run: random_data(), gpus=())
    assert one_pass.call_count == 3  # one for the first four runs
    return cache


def frozen(config: RunConfig, cache: Path) -> FrozenRun:
    weights = {"demo": "0" * 64} if config.model.weights == "demo" else {}
    return FrozenRun(config, Inputs("", weights), cache)


@pytest.mark.parametrize("name", CONFIGS)
def test_precomputed_features_equal_those_of_a_single_run(
    tmp_path: Path, shared: Path, name: str
) -> None:
    config = CONFIGS[name]
    assert_equal(features_file(shared, config).read(), compute(tmp_path, config))
