"""Pretrain the demo backbone: ``python -m xray_hpc.synthetic.pretrain_backbone``.

The backbone learns to locate the eight kinds of :mod:`.pretraining_task`, never the
pneumonias of the demo set. Its weights ship with the package. This takes about six CPU minutes; the
same arguments give the same weights on the same machine.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from xray_hpc.records.atomic_files import atomic_write
from xray_hpc.shared_folder import make_folder
from xray_hpc.synthetic import pretraining_task
from xray_hpc.synthetic.demo_backbone import WEIGHTS, demo_backbone

SIZE = 96
CELLS = SIZE // 16
BATCH = 64
LEARNING_RATE = 2e-3
HELD_OUT = 500

Bytes = npt.NDArray[np.uint8]


def draw_images(first: int, count: int, seed: int) -> tuple[Bytes, Bytes]:
    """Draw images ``[count, SIZE, SIZE, 1]`` and their maps ``[count, CELLS, CELLS, kinds]``."""
    images = np.empty((count, SIZE, SIZE, 1), np.uint8)
    maps = np.empty((count, CELLS, CELLS, len(pretraining_task.KINDS)), np.uint8)
    start = time.monotonic()
    for i in range(count):
        images[i, ..., 0], maps[i] = pretraining_task.draw(first + i, seed, SIZE, CELLS)
        if (i + 1) % 2000 == 0:
            print(f"drew {i + 1} of {count} images in {time.monotonic() - start:.0f} s", flush=True)
    return images, maps


def pretraining_model() -> tuple[keras.Model, keras.Model]:
    """Build the backbone, and the whole model from raw pixels to a map of probabilities."""
    backbone = demo_backbone((SIZE, SIZE, 1), None)
    inputs = keras.layers.Input((SIZE, SIZE, 1))
    x = backbone(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    x = keras.layers.SpatialDropout2D(0.1)(x)
    outputs = keras.layers.Conv2D(len(pretraining_task.KINDS), 1, activation="sigmoid")(x)
    return backbone, keras.Model(inputs, outputs)


def pretrain(images: int, epochs: int, seed: int, out: Path) -> None:
    """Draw images, train, print the AUC of each kind on new images, and save the weights."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    pixels, maps = draw_images(0, images, seed)
    backbone, model = pretraining_model()
    steps = images // BATCH * epochs
    rate = keras.optimizers.schedules.CosineDecay(
        0.1 * LEARNING_RATE, steps, warmup_target=LEARNING_RATE, warmup_steps=steps // 20
    )
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy")
    batches = tf.data.Dataset.from_tensor_slices((pixels, maps))
    batches = batches.shuffle(images, seed=seed).batch(BATCH, drop_remainder=True)
    batches = batches.map(lambda x, y: (tf.cast(x, tf.float32), tf.cast(y, tf.float32)))
    model.fit(batches.prefetch(2), epochs=epochs, verbose=2)

    held_out, truth = draw_images(images, HELD_OUT, seed)
    found = model.predict(held_out.astype(np.float32), batch_size=BATCH, verbose=0)
    for kind, name in enumerate(pretraining_task.KINDS):
        auc = roc_auc_score(truth[..., kind].ravel(), found[..., kind].ravel())
        print(f"{name:16} AUC of its cells in {HELD_OUT} new images: {auc:.3f}")
    make_folder(out.parent)
    with atomic_write(out) as temporary:
        backbone.save_weights(temporary)
    print(f"wrote {out} ({out.stat().st_size / 1e6:.2f} MB)")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m xray_hpc.synthetic.pretrain_backbone",
        description="Pretrain the demo backbone to locate findings in synthetic X-rays.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="file to write (.weights.h5)")
    parser.add_argument("--images", type=int, default=10000, help="number of images to draw")
    parser.add_argument("--epochs", type=int, default=6, help="number of epochs")
    parser.add_argument("--seed", type=int, default=1, help="seed of images and training")
    given = parser.parse_args()
    if given.images < BATCH:
        parser.error(f"--images is {given.images}; it must be {BATCH} (one batch) or more")
    if given.epochs < 1:
        parser.error(f"--epochs is {given.epochs}; it must be 1 or more")
    if not given.out.name.endswith(".weights.h5"):
        parser.error(f"--out is {given.out}; its name must end in .weights.h5")
    pretrain(given.images, given.epochs, given.seed, given.out)


if __name__ == "__main__":
    main()
