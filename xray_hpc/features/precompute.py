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
from xray_hpc.models.build_backbone import freeze
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

    ``load_data`` loads and checks the data set of a run; ``gpus`` is as in ``cached_features``.

    Raises:
        UserError: data or weights are missing or have changed, or the disk is full.
    """
    for group in group_by_pass(runs):
        _run_pass(distinct_extractors(group), load_data(group[0]), strategy, gpus)
        keras.backend.clear_session()
        gc.collect()


def _run_pass(
    runs: Sequence[FrozenRun], data: Dataset, strategy: tf.distribute.Strategy, gpus: Sequence[str]
) -> None:
    model = build_run_model(runs[0].config, len(data.classes), strategy)
    sources = [FeatureSource(run.config, data, model, strategy) for run in runs]
    files: list[CachedFeatures] = []
    with strategy.scope():
        for run, source in zip(runs, sources, strict=True):
            for layer in model.layers:
                if isinstance(layer, keras.Model) and layer.weights:
                    freeze(layer, run.config.model.unfreeze or 0)
            cut = find_cut(model)
            assert cut is not None, "the plan groups only runs with a feature extractor"
            files.append(cached_features(source, cut, run.cache, gpus))
            logger.info("features at %s: %s", "/".join(cut), files[-1].path)
    load_or_compute(files, sources[0])
