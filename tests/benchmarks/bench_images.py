"""Measure how fast images reach the network: from the image store, and decoded every epoch.

Goals: 15,000 images per CPU-second without augmentation and 2,000 with zoom and shift, for one
and three channels.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import drawn_xrays
from tests.benchmarks.markdown_table import SPREAD, Table, number, spread
from tests.benchmarks.timing import Sample, median_cpu, time_calls
from xray_hpc.config.run_config import AugmentConfig, DataConfig
from xray_hpc.data.dataset import Dataset, load_indexed
from xray_hpc.data.image_store import build_image_store
from xray_hpc.data.index import build_index
from xray_hpc.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

SIZE = 224
BATCH = 32
SEED = 42
EPOCHS = 50
WARM_BATCHES = 3
WAYS = {
    "plain": AugmentConfig(),
    "zoom and shift": AugmentConfig(zoom=0.1, height_shift=0.1, width_shift=0.1),
    "rotation, zoom, shift and flip": AugmentConfig(
        rotation=30,
        zoom=0.2,
        height_shift=0.1,
        width_shift=0.1,
        horizontal_flip=True,
        fill_mode="nearest",
    ),
}
COLUMNS = ("what", "images", f"images per s: {SPREAD}", f"images per CPU-s: {SPREAD}", "ratio")


@dataclass(frozen=True)
class Timing:
    """Measured passes over ``images`` images."""

    images: int
    samples: list[Sample]

    @property
    def rate(self) -> float:
        """Images per CPU-second, from the median."""
        return self.images / median_cpu(self.samples)

    def row(self, what: str, baseline: Timing | None = None) -> tuple[str, ...]:
        """Return the cells of ``COLUMNS``; the ratio is relative to ``baseline``."""
        return (
            what,
            f"{self.images:,}",
            spread(self.images / sample.wall for sample in self.samples),
            spread(self.images / sample.cpu for sample in self.samples),
            number(self.rate / baseline.rate) if baseline else "",
        )


def tables(folder: Path, repeat: int) -> Iterator[Table]:
    """Yield a table for synthetic X-rays, and one for the real data set if available."""
    named = os.environ.get("XRAY_HPC_DATA")
    real = Path(named).expanduser() / "chest_xray" if named else None
    if real is not None and not real.is_dir():
        raise UserError(f"XRAY_HPC_DATA is {named!r}, which holds no folder 'chest_xray'")
    drawn, cache = folder / "films", folder / "cache"
    drawn_xrays.draw(drawn)
    cache.mkdir()
    yield loading("synthetic X-rays", drawn, cache, repeat)
    if real is not None:
        yield loading("the real set", real, cache, repeat)
    else:
        why = "Skipped: `XRAY_HPC_DATA` does not name a folder that holds `chest_xray/`."
        yield Table("Loading images: the real set", why, ())


def loading(name: str, root: Path, cache: Path, repeat: int) -> Table:
    """Measure building the image store of ``root``, and an epoch of its training images."""
    # The split of image_dataset_from_directory, so that both methods read the same files.
    config = DataConfig(
        source="folder",
        root=str(root),
        image_size=SIZE,
        channels=3,
        split="random",
        validation_fraction=0.2,
        split_seed=SEED,
    )
    index = build_index(config, cache)
    every = len(index.entries)
    with contextlib.redirect_stderr(io.StringIO()):  # warnings about the data
        building = Timing(
            every, time_calls(lambda: build_image_store(index, config, cache), repeat)
        )
        reading = Timing(every, time_calls(lambda: load_indexed(index, config, cache), repeat))
        data = load_indexed(index, config, cache)
        grey = load_indexed(index, replace(config, channels=1), cache)
    table = Table(
        f"Loading images: {name}",
        f"{drawn_xrays.describe(root)}. {SIZE} px, batches of {BATCH}, without training; the "
        "files are in the page cache. An epoch from the memory-mapped image store "
        "(`training_batches`) is compared with one that decodes every file, as a tutorial does "
        "(`image_dataset_from_directory`, `Rescaling`, `RandomZoom`, `RandomTranslation` and so "
        "on). The ratio is that of images per CPU-s (medians) to those of decoding.",
        COLUMNS,
        [
            building.row("building the store, once per data set"),
            reading.row("checking it, once per run"),
        ],
    )
    for way, augment in WAYS.items():
        decoded = _epochs(_decoded(root, augment), repeat)
        stored = _epochs(_stored(data, augment), repeat)
        scaled = _epochs(_scaled(_stored(data, augment)), repeat)
        light = _epochs(_stored(grey, augment), repeat)
        table.rows += [
            decoded.row(f"decoding every epoch, {way}"),
            stored.row(f"stored, {way}", decoded),
            scaled.row(f"stored, {way}, scaled to 0..1", decoded),
            light.row(f"stored, {way}, data.channels=1", decoded),
        ]
    once = every / building.rate + every / reading.rate
    from_store = once + EPOCHS * decoded.images / stored.rate
    decoding = EPOCHS * decoded.images / decoded.rate
    table.remarks.append(
        f"{EPOCHS} epochs of {decoded.images:,} images with {way}, computed from these rates: "
        f"{number(decoding)} CPU-s decoding every epoch, {number(from_store)} CPU-s from the image "
        f"store, including building and checking it ({number(decoding / from_store)} times less)."
    )
    return table


def _epochs(batches: tf.data.Dataset, repeat: int) -> Timing:
    """Measure passes over ``batches``, after a few warm-up batches."""
    images = 0

    def epoch() -> None:
        nonlocal images
        images = sum(len(labels) for _, labels in batches)

    for _ in batches.take(WARM_BATCHES):
        pass
    samples = time_calls(epoch, repeat)
    return Timing(images, samples)


def _stored(data: Dataset, augment: AugmentConfig) -> tf.data.Dataset:
    from xray_hpc.data.input_pipeline import training_batches

    return training_batches(
        data.images,
        data.labels,
        data.splits["train"],
        targets="sigmoid",
        classes=len(data.classes),
        batch_size=BATCH,
        input_size=SIZE,
        augment=augment,
        balance="none",
        seed=SEED,
        epochs=range(1),
    )


def _scaled(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Scale to floats 0..1, as the decoding pipeline; in a training, the model does this."""
    import tensorflow as tf

    scaled = batches.map(lambda x, y: (tf.cast(x, tf.float32) / 255, y), tf.data.AUTOTUNE)
    return scaled.prefetch(tf.data.AUTOTUNE)


def _decoded(root: Path, augment: AugmentConfig) -> tf.data.Dataset:
    import keras
    import tensorflow as tf

    with contextlib.redirect_stdout(io.StringIO()):  # the number of files found
        batches = keras.utils.image_dataset_from_directory(
            root / "train",
            label_mode="binary",
            image_size=(SIZE, SIZE),
            batch_size=BATCH,
            seed=SEED,
            validation_split=0.2,
            subset="training",
        )
    layers: list[Callable[[tf.Tensor], tf.Tensor]] = [keras.layers.Rescaling(1 / 255)]
    fill = augment.fill_mode
    if augment.rotation:
        layers.append(keras.layers.RandomRotation(augment.rotation / 360, fill_mode=fill))
    if augment.zoom:
        layers.append(keras.layers.RandomZoom(augment.zoom, augment.zoom, fill_mode=fill))
        shifts = augment.height_shift, augment.width_shift
        layers.append(keras.layers.RandomTranslation(*shifts, fill_mode=fill))
    if augment.horizontal_flip:
        layers.append(keras.layers.RandomFlip("horizontal"))
    for layer in layers:
        batches = batches.map(lambda x, y, layer=layer: (layer(x), y), tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)
