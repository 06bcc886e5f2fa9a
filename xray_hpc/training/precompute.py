"""Computing what the feature extractors of several runs give before any of them trains."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import keras
import tensorflow as tf

from xray_hpc.data.dataset import load_dataset
from xray_hpc.features import cost
from xray_hpc.features.cut import find_cut
from xray_hpc.features.store import CachedFeatures, features, load
from xray_hpc.models.backbones import freeze
from xray_hpc.models.build_model import build_run_model
from xray_hpc.records.frozen_run import FrozenRun
from xray_hpc.training.train_run import check_inputs


def compute_features(runs: Sequence[FrozenRun], strategy: tf.distribute.Strategy) -> None:
    """Compute the cached features of ``runs``, in one pass for those on the same backbone.

    Raises:
        UserError: the data, the weights or the disk do not allow it.
    """
    for group in cost.passes(runs):
        _compute(cost.distinct(group), strategy)
        keras.backend.clear_session()
        gc.collect()


def _compute(runs: Sequence[FrozenRun], strategy: tf.distribute.Strategy) -> None:
    first = runs[0]
    data = load_dataset(first.config.data, first.cache)
    check_inputs(first, data)
    model = build_run_model(first.config, len(data.classes), strategy)
    wanted: list[CachedFeatures] = []
    with strategy.scope():
        for run in runs:
            for layer in model.layers:
                if isinstance(layer, keras.Model) and layer.weights:
                    freeze(layer, run.config.model.unfreeze or 0)
            place = find_cut(model)
            assert place is not None
            wanted.append(features(run.config, data, model, place, run.cache))
    for item in wanted:
        print(f"features at {'/'.join(item.place)}: {item.path}", flush=True)
    load(wanted, first.config, data, model, strategy)
