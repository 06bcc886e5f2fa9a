"""Compute the cached features of several runs before any of them trains."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from xray_hpc.data.dataset import Dataset
from xray_hpc.features.feature_plan import distinct_extractors, group_by_pass
from xray_hpc.features.feature_store import CachedFeatures, cached_features, load_or_compute
from xray_hpc.features.forward_pass import FeatureSource
from xray_hpc.features.model_cut import find_cut
from xray_hpc.models.backbones import freeze
from xray_hpc.models.build_model import build_run_model
from xray_hpc.records.frozen_run import FrozenRun

logger = logging.getLogger(__name__)


def precompute_features(
    runs: Sequence[FrozenRun],
    strategy: tf.distribute.Strategy,
    load_data: Callable[[FrozenRun], Dataset],
    gpus: Sequence[str],
) -> None:
    """Compute the cached features of ``runs``, in one pass per backbone and data set.

    Args:
        runs: the runs; those without cached features are ignored.
        strategy: the devices.
        load_data: loads and checks the data set of a run.
        gpus: the names of the GPUs, see ``cached_features``.

    Raises:
        UserError: data or weights are missing or have changed, or the disk is full.
    """
    for group in group_by_pass(runs):
        _run_pass(distinct_extractors(group), strategy, load_data, gpus)
        keras.backend.clear_session()
        gc.collect()


def _run_pass(
    runs: Sequence[FrozenRun],
    strategy: tf.distribute.Strategy,
    load_data: Callable[[FrozenRun], Dataset],
    gpus: Sequence[str],
) -> None:
    first = runs[0]
    data = load_data(first)
    model = build_run_model(first.config, len(data.classes), strategy)
    files: list[CachedFeatures] = []
    with strategy.scope():
        for run in runs:
            for layer in model.layers:
                if isinstance(layer, keras.Model) and layer.weights:
                    freeze(layer, run.config.model.unfreeze or 0)
            cut = find_cut(model)
            assert cut is not None, "the plan groups only runs with a feature extractor"
            source = FeatureSource(run.config, data, model, strategy)
            files.append(cached_features(source, cut, run.cache, gpus))
    for file in files:
        logger.info("features at %s: %s", "/".join(file.cut), file.path)
    load_or_compute(files, FeatureSource(first.config, data, model, strategy))
