"""Store of cached features: computed once, for all epochs and all runs.

It is kept in one file of the cache for each feature extractor, data set and set of views. Whoever
needs it first computes it, under a lock; one that is killed is gone on from.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.code_digest import software_identity
from xray_hpc.config.run_config import RunConfig
from xray_hpc.config.schema import as_dict
from xray_hpc.data import array_store
from xray_hpc.data.array_store import ArraySpec, DamagedStoreError, StoreWriter
from xray_hpc.data.cache_folder import check_free_space, writing_to_cache
from xray_hpc.data.dataset import Dataset
from xray_hpc.errors import LockedError
from xray_hpc.features.cut import LayerPath, extractor_layers, extractor_model, feature_shape
from xray_hpc.features.forward_pass import batch_of, fill
from xray_hpc.records.atomic_files import file_lock
from xray_hpc.training.strategy import gpu_names

Arrays = Mapping[str, npt.NDArray[Any]]

WHAT = "the cached features"
WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class CachedFeatures:
    """A file of the cached features: what is in it, and where it is.

    ``arrays`` are ``train``, ``[views x T, ...]`` in the order of the training split, a view after
    another, and in float32 ``validation`` and ``test``, ``[N, ...]``.
    """

    place: LayerPath
    key: str
    path: Path
    arrays: Mapping[str, ArraySpec]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())

    def read(self) -> Arrays:
        """Map the file; see ``blocks.read``."""
        return array_store.read_arrays(self.path, self.arrays, self.key)


def features(
    config: RunConfig, data: Dataset, model: keras.Model, place: LayerPath, cache: Path
) -> CachedFeatures:
    """What the run keeps of the feature extractor of ``model`` that ends at ``place``."""
    shape = feature_shape(model, place)
    views, kept = config.augment.views, config.train.features
    assert isinstance(views, int)
    rows = {split: len(data.splits[split]) for split in ("validation", "test")}
    batch = batch_of(config.data.input_size)
    arrays = {"train": ArraySpec((views * len(data.splits["train"]), *shape), kept, batch)}
    arrays |= {split: ArraySpec((count, *shape), "float32", batch) for split, count in rows.items()}
    key = _key(config, data, model, place)
    return CachedFeatures(place, key, cache / f"features-{key[:16]}.h5", arrays)


def load(
    wanted: Sequence[CachedFeatures],
    config: RunConfig,
    data: Dataset,
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    told: Callable[[int], None] = lambda done: None,
) -> list[Arrays]:
    """Return cached features of ``model``; those that nobody has computed yet in one pass.

    ``told`` is given how many blocks are safe on the disk, now and then.

    Raises:
        UserError: the disk has no room, or float16 cannot hold the outputs.
    """
    found = {item.path: arrays for item in wanted if (arrays := _whole(item)) is not None}
    if missing := [item for item in wanted if item.path not in found]:
        found |= _compute(missing, config, data, model, strategy, told)
    return [found[item.path] for item in wanted]


def _compute(
    wanted: Sequence[CachedFeatures],
    config: RunConfig,
    data: Dataset,
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    told: Callable[[int], None],
) -> dict[Path, Arrays]:
    """Have each of the files computed by this process or another one; what is in them."""
    cache = wanted[0].path.parent
    needed = sum(item.nbytes for item in wanted)
    with writing_to_cache(cache, WHAT, needed), ExitStack() as held:
        for item in sorted(wanted, key=lambda item: item.path):
            held.enter_context(_locked(item, told))
        found = {item.path: _whole(item, mend=True) for item in wanted}
        left = [item for item in wanted if found[item.path] is None]
        if left:
            what = f"{WHAT} (train.features=off keeps none)"
            check_free_space(
                cache, what, sum(array_store.missing_bytes(item.path, item.arrays) for item in left)
            )
            files = [
                held.enter_context(StoreWriter(item.path, item.arrays, item.key)) for item in left
            ]
            part = extractor_model(model, [item.place for item in left])
            fill(files, config, data, part, strategy, told)
            for file in files:
                file.finish()
        return {item.path: found[item.path] or item.read() for item in wanted}


@contextmanager
def _locked(item: CachedFeatures, told: Callable[[int], None]) -> Iterator[None]:
    """Hold the lock of a file; what another process does meanwhile is told as this one's.

    A run that waits for hours, over time limits, is no run that comes to nothing.
    """
    lock, said, most = item.path.with_name(f".{item.path.name}.lock"), False, 0
    while True:
        try:
            with file_lock(lock, wait=False):
                yield
                return
        except LockedError:
            if not said:
                print(
                    f"waiting for another process to compute the cached features ({item.path})",
                    flush=True,
                )
            said = True
        if (done := array_store.blocks_written(item.path)) > most:
            told(done)
            most = done
        time.sleep(WAIT_SECONDS)


def _whole(item: CachedFeatures, *, mend: bool = False) -> Arrays | None:
    """What is in its file; ``None`` where there is none, or a damaged one.

    That is removed to ``mend`` it: hold its lock.
    """
    try:
        return item.read()
    except FileNotFoundError:
        return None
    except DamagedStoreError as error:
        if mend:
            print(f"warning: {item.path} was damaged ({error}); computing it again", flush=True)
            item.path.unlink()
        return None


def _key(config: RunConfig, data: Dataset, model: keras.Model, place: LayerPath) -> str:
    """Name all that the outputs depend on."""
    drawn = None if config.augment.identity else [as_dict(config.augment), config.seed]
    packed = config.data
    splits = {
        name: hashlib.sha256("\n".join(data.files[i] for i in rows).encode()).hexdigest()
        for name, rows in data.splits.items()
    }
    content = [
        [data.contents, packed.image_size, packed.channels, packed.clahe, packed.input_size],
        [splits, drawn],
        [sorted(config.model.backbone_weights), config.model.preprocessing, place],
        [_digest(extractor_layers(model, place)), config.train.features, config.train.precision],
        # GPUs round the factors of a product in "float32", each kind in its own way.
        [software_identity(), sorted(set(gpu_names()))],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _digest(layers: Iterable[keras.Layer]) -> str:
    """A digest of all weights of ``layers``."""
    digest = hashlib.sha256()
    for weight in (weight for layer in layers for weight in layer.weights):
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(weight.value))
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.data)
    return digest.hexdigest()
