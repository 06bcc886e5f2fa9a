"""Train two small models on one logical CPU device and on two: ``python replicas.py OUT.npz``."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xray_hpc.config import AugmentConfig, DataConfig, ModelConfig, RunConfig, TrainConfig
from xray_hpc.data.dataset import Dataset
from xray_hpc.runs.paths import RunPaths
from xray_hpc.training.run import export, fit, predict
from xray_hpc.training.strategy import make_strategy

MODELS = {
    "cnn": ModelConfig("cnn"),
    "ft": ModelConfig("ft", "demo", "none", unfreeze=8, head_units=8, head_dropout=0.3),
}


def dataset() -> Dataset:
    rng = np.random.default_rng(1)
    labels = np.arange(41, dtype=np.int64) % 2
    images = rng.integers(0, 120, (41, 32, 32, 1)) + 120 * labels[:, None, None, None]
    return Dataset(
        images=images.astype(np.uint8),
        labels=labels,
        files=[f"{i}.png" for i in range(41)],
        patients=[str(i) for i in range(41)],
        classes=("NORMAL", "PNEUMONIA"),
        splits={
            "train": np.arange(0, 24),
            "validation": np.arange(24, 33),
            "test": np.arange(24, 41),
        },
        fingerprint="",
        notes=[],
        skipped=[],
    )


def main(out: Path) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.config.experimental.enable_op_determinism()
    data = dataset()
    arrays = {}
    # one strategy of two for the whole process: a second would use the first one's collectives
    strategies = {count: make_strategy([f"CPU:{i}" for i in range(count)]) for count in (1, 2)}
    for name, model in MODELS.items():
        config = RunConfig(
            data=DataConfig("demo", None, 32, 1, "patient", 0.2, 42, 40, 0),
            model=model,
            augment=AugmentConfig(zoom=0.1, height_shift=0.1, width_shift=0.1),
            train=TrainConfig(2, 8, 1e-3),
            seed=7,
        )
        for replicas, strategy in strategies.items():
            with tempfile.TemporaryDirectory() as folder:
                paths = RunPaths(Path(folder))
                fitted = fit(config, data, strategy, paths)
                key = f"{name}/{replicas}"
                for i, weight in enumerate(fitted.model.get_weights()):
                    arrays[f"{key}/weight{i}"] = weight
                arrays[f"{key}/scores"] = predict(
                    fitted.model, data, data.splits["test"], config.train.batch_size
                )
                history = fitted.history.to_dict(orient="records")
                arrays[f"{key}/history"] = np.array(json.dumps(history))
                export(fitted.model, config, data, paths)
                saved = keras.models.load_model(paths.model)
                arrays[f"{key}/saved"] = predict(saved, data, data.splits["test"], 8)
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
