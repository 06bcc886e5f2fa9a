"""Train small models on one and on two logical CPU devices: ``python replicas.py OUT.npz``."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from xray_hpc.config.run_config import AugmentConfig, DataConfig, ModelConfig, RunConfig
from xray_hpc.config.train_config import TrainConfig
from xray_hpc.data.dataset import Dataset
from xray_hpc.metrics import class_logits
from xray_hpc.models import vgg_like
from xray_hpc.models.build_backbone import APPLICATIONS
from xray_hpc.models.layer_graph import logits_tensor
from xray_hpc.records.paths import RunPaths
from xray_hpc.training.checkpoint_store import CheckpointStore
from xray_hpc.training.fit import fit
from xray_hpc.training.save_model import export_model
from xray_hpc.training.strategy import make_strategy
from xray_hpc.training.training_model import make_training_model

FT = ModelConfig(
    "ft", "demo", "none", unfreeze=8, head_units=8, head_dropout=0.3, preprocessing="backbone"
)
STACKED = ModelConfig(
    "stacked",
    backbones={"demo": "none", "mobilenet_v2": "none"},
    preprocessing="backbone",
    output="softmax",
)


def small_backbone(
    include_top: bool, weights: None, input_shape: tuple[int, int, int]
) -> keras.Model:
    """Return a convolution with BatchNormalization, instead of a published backbone."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(inputs)
    return keras.Model(inputs, keras.layers.BatchNormalization()(x))


@dataclass(frozen=True)
class Case:
    """A model to train, the classes and size of its images, and its configuration."""

    model: ModelConfig
    classes: int
    balance: Literal["none", "class_weights", "sampling"] = "none"
    size: int = 32
    features: Literal["off", "float32"] = "off"


# The real backbone has 154 layers, which take a minute to trace.
APPLICATIONS["mobilenet_v2"] = small_backbone
# With all filters the model overfits and rounding errors grow. In float64, one and two devices
# agree to 1e-13 nevertheless.
vgg_like.FILTERS = tuple(tuple(count // 8 for count in block) for block in vgg_like.FILTERS)

CASES = {
    "cnn": Case(ModelConfig("cnn"), 2),
    "ft": Case(FT, 2, "sampling"),
    "conv": Case(
        ModelConfig("conv", preprocessing="midrange", output="softmax"), 2, "class_weights", 48
    ),
    "lung": Case(ModelConfig("lung", output="softmax"), 3, "sampling"),
    "stacked": Case(STACKED, 3, "class_weights", features="float32"),
    "vgg": Case(ModelConfig("vgg"), 2, "class_weights"),
}


def dataset(case: Case) -> Dataset:
    """Return noise that is lighter for higher labels; the last class has the most images."""
    rng = np.random.default_rng(1)
    last = case.classes - 1
    labels = np.minimum(np.arange(33, dtype=np.int64) % (case.classes + 1), last)
    images = rng.integers(0, 120, (33, case.size, case.size, 1)) + 60 * labels[:, None, None, None]
    return Dataset(
        images=images.astype(np.uint8),
        labels=labels,
        files=[f"{i}.png" for i in range(33)],
        patients=[str(i) for i in range(33)],
        classes=("COVID", "NORMAL", "PNEUMONIA")[-case.classes :],
        splits={
            "train": np.arange(0, 16),
            "validation": np.arange(16, 25),
            "test": np.arange(16, 33),
        },
        fingerprint="",
        notes=[],
        skipped=[],
        contents="",
    )


def configuration(case: Case) -> RunConfig:
    return RunConfig(
        data=DataConfig(
            source="demo",
            image_size=case.size,
            channels=1,
            split="patient",
            validation_fraction=0.2,
            split_seed=42,
            demo_images=40,
            demo_seed=0,
            demo_classes=case.classes,
        ),
        model=case.model,
        augment=AugmentConfig(zoom=0.1, height_shift=0.1, width_shift=0.1, rotation=10, views=2),
        train=TrainConfig(
            epochs=2, batch_size=8, learning_rate=1e-4, balance=case.balance, features=case.features
        ),
        seed=7,
    )


def main(out: Path) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.config.experimental.enable_op_determinism()
    arrays = {}
    # Only one strategy per process: a second one would reuse the collectives of the first.
    strategies = {count: make_strategy([f"CPU:{i}" for i in range(count)]) for count in (1, 2)}
    for name, case in CASES.items():
        config, data = configuration(case), dataset(case)
        for replicas, strategy in strategies.items():
            with tempfile.TemporaryDirectory() as folder:
                paths = RunPaths(Path(folder))
                training_model = make_training_model(config, data, strategy, paths.folder)
                result = fit(
                    config,
                    data,
                    training_model,
                    paths,
                    CheckpointStore(paths.checkpoint_folder, {}),
                )
                key = f"{name}/{replicas}"
                for i, weight in enumerate(result.model.get_weights()):
                    arrays[f"{key}/weight{i}"] = weight
                arrays[f"{key}/scores"] = training_model.predict("test")
                history = result.history.to_dict(orient="records")
                arrays[f"{key}/history"] = np.array(json.dumps(history))
                if (name, replicas) == ("cnn", 2):
                    export_model(result.model, config, data, paths)
                    saved = keras.models.load_model(paths.model)
                    images = data.images[data.splits["test"]]
                    saved = keras.Model(saved.input, logits_tensor(saved))
                    arrays[f"{key}/saved"] = class_logits(saved.predict(images, verbose=0))
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
