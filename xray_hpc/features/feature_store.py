"""Store of cached features: computed once for all epochs and all runs.

Each feature extractor, data set and set of views has one file in the cache folder. The first
process that needs a file computes it under a lock; if that process is killed, the next one resumes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from xray_hpc.code_digest import software_identity
from xray_hpc.data import array_store
from xray_hpc.data.array_store import ArraySpec, DamagedStoreError
from xray_hpc.data.array_writer import StoreWriter, blocks_written, missing_bytes
from xray_hpc.data.cache_errors import cache_lock, check_free_space, writing_to_cache
from xray_hpc.data.private_cache import CacheDeniedError, with_private_cache
from xray_hpc.errors import LockedError
from xray_hpc.features.forward_pass import FeatureSource, compute_blocks, replica_batch_size
from xray_hpc.features.model_cut import LayerPath, extractor_layers, feature_shape
from xray_hpc.records.file_lock import lock_owner

FeatureArrays = Mapping[str, npt.NDArray[Any]]
"""Features by split: ``train`` ``[views * T, ...]``, ``validation`` and ``test`` ``[N, ...]``."""

CONTENT = "the cached features"
POLL_SECONDS = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedFeatures:
    """A file of cached features, which need not exist yet.

    Attributes:
        cut: the layer at which the feature extractor ends.
        key: a hash of everything that the features depend on.
        arrays: ``train`` holds the first view of all training images in the order of their split,
            then the second view, and so on; ``validation`` and ``test`` are in float32.
    """

    cut: LayerPath
    key: str
    path: Path
    arrays: Mapping[str, ArraySpec]

    def read(self) -> FeatureArrays:
        """Map the file into memory; see ``array_store.read_arrays``."""
        return array_store.read_arrays(self.path, self.arrays, self.key)


def cached_features(
    source: FeatureSource, cut: LayerPath, cache: Path, gpus: Sequence[str]
) -> CachedFeatures:
    """Return the file of cached features of a run whose feature extractor ends at ``cut``.

    ``gpus`` are the names of the GPUs: each kind rounds products differently, so that features
    computed on another kind are not used.
    """
    config, data = source.config, source.data
    shape = feature_shape(source.model, cut)
    views = config.augment.views
    assert views is not None
    rows = {split: len(data.splits[split]) for split in ("train", "validation", "test")}
    batch = replica_batch_size(config.data.input_size)
    arrays = {
        "train": ArraySpec((views * rows["train"], *shape), config.train.features, batch),
        "validation": ArraySpec((rows["validation"], *shape), "float32", batch),
        "test": ArraySpec((rows["test"], *shape), "float32", batch),
    }
    key = _feature_key(source, cut, gpus)
    return CachedFeatures(cut, key, cache / f"features-{key[:16]}.h5", arrays)


def load_or_compute(
    files: Sequence[CachedFeatures],
    source: FeatureSource,
    on_progress: Callable[[int], None] = lambda blocks: None,
) -> list[FeatureArrays]:
    """Return the features of each file; files that do not exist are computed in one pass.

    Args:
        files: cached features at different cuts of one model.
        source: a run with that model.
        on_progress: called with the number of blocks that are safely on the disk, now and then.

    Raises:
        UserError: the disk is full, or float16 cannot hold the features.
    """
    found = dict[str, FeatureArrays]()
    for file in files:
        with contextlib.suppress(CacheDeniedError, OSError):  # they count under the lock
            if (arrays := _read(file)) is not None:
                found[file.key] = arrays
    if missing := [file for file in files if file.key not in found]:
        compute = partial(_compute, missing, source, on_progress)
        found |= with_private_cache(compute, files[0].path.parent)
    return [found[file.key] for file in files]


def _compute(
    files: Sequence[CachedFeatures],
    source: FeatureSource,
    on_progress: Callable[[int], None],
    cache: Path,
) -> dict[str, FeatureArrays]:
    """Compute the files that no other process has computed meanwhile, and read all, by key."""
    files = [replace(file, path=cache / file.path.name) for file in files]
    needed = sum(array.nbytes for file in files for array in file.arrays.values())
    with writing_to_cache(cache, CONTENT, needed), ExitStack() as stack:
        for file in sorted(files, key=lambda file: file.path):
            stack.enter_context(_locked(file, on_progress))
        found = {file.key: _read(file, delete_damaged=True) for file in files}
        missing = [file for file in files if found[file.key] is None]
        if missing:
            content = f"{CONTENT} (train.features=off caches none)"
            needed = sum(missing_bytes(file.path, file.arrays) for file in missing)
            check_free_space(cache, content, needed)
            writers = [
                stack.enter_context(StoreWriter(file.path, file.arrays, file.key))
                for file in missing
            ]
            compute_blocks(writers, source, [file.cut for file in missing], on_progress)
            for writer in writers:
                writer.finish()
        return {file.key: found[file.key] or file.read() for file in files}


@contextmanager
def _locked(file: CachedFeatures, on_progress: Callable[[int], None]) -> Iterator[None]:
    """Hold the lock of a file; while another process holds it, report that process's progress.

    Without the reports, a run that waits for hours would be taken for one without progress.
    """
    lock, waiting, reported = file.path.with_name(f".{file.path.name}.lock"), False, 0
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(cache_lock(lock, wait=False))
                break
            except LockedError:
                if not waiting:
                    owner = lock_owner(lock)
                    logger.info("waiting for another process to compute %s%s", file.path, owner)
                waiting = True
            if (written := blocks_written(file.path)) > reported:
                on_progress(written)
                reported = written
            time.sleep(POLL_SECONDS)
        yield


def _read(file: CachedFeatures, *, delete_damaged: bool = False) -> FeatureArrays | None:
    """Return the content of a file, or None; the lock must be held to delete a damaged file."""
    try:
        return file.read()
    except FileNotFoundError:
        return None
    except DamagedStoreError as error:
        if delete_damaged:
            logger.warning("%s is damaged (%s); computing it again", file.path, error)
            file.path.unlink()
        return None


def _feature_key(source: FeatureSource, cut: LayerPath, gpus: Sequence[str]) -> str:
    """Hash everything that the features depend on."""
    config, data = source.config, source.data
    augmentation = None if config.augment.identity else [asdict(config.augment), config.seed]
    images = config.data
    splits = {
        name: hashlib.sha256("\n".join(data.files[i] for i in rows).encode()).hexdigest()
        for name, rows in data.splits.items()
    }
    content = [
        [data.contents, images.image_size, images.channels, images.clahe, images.input_size],
        [data.range],
        [splits, augmentation],
        [sorted(config.model.backbone_weights), config.model.preprocessing, cut],
        [_weights_digest(extractor_layers(source.model, cut))],
        [config.train.features, config.train.precision],
        [software_identity(), sorted(set(gpus))],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _weights_digest(layers: Iterable[keras.Layer]) -> str:
    digest = hashlib.sha256()
    for weight in (weight for layer in layers for weight in layer.weights):
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(weight.value))
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.data)
    return digest.hexdigest()
