"""What a model's frozen trunk makes of every image: computed once, for all epochs and all runs.

It is kept in one file of the cache for each trunk, data set and set of views. Whoever needs it
first computes it, under a lock; one that is killed is gone on from.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from xray_hpc.config import RunConfig
from xray_hpc.data import blocks
from xray_hpc.data.ahead import map_ahead
from xray_hpc.data.augment import centre, epoch_changes
from xray_hpc.data.blocks import Array, Block, DamagedError, Filling
from xray_hpc.data.cache import check_space, writing
from xray_hpc.data.dataset import Dataset
from xray_hpc.data.progress import Progress
from xray_hpc.data.warp import change
from xray_hpc.errors import UserError
from xray_hpc.models.cut import Place, trunk, trunk_layers, trunk_shape
from xray_hpc.models.registry import backbones
from xray_hpc.models.trunks import SIDE
from xray_hpc.runs.files import LockedError, locked
from xray_hpc.schema import as_dict
from xray_hpc.training.software import software

Arrays = Mapping[str, npt.NDArray[Any]]

WHAT = "the trunk's outputs"
BATCH = 64  # images, fewer of large ones; the same wherever it runs, as bytes could depend on it
WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Features:
    """A file of a trunk's outputs: what is in it, and where it is.

    ``arrays`` are ``train``, ``[views x T, ...]`` in the order of the training split, a view after
    another, and in float32 ``validation`` and ``test``, ``[N, ...]``.
    """

    place: Place
    key: str
    path: Path
    arrays: Mapping[str, Array]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())

    def read(self) -> Arrays:
        """Map the file; see ``blocks.read``."""
        return blocks.read(self.path, self.arrays, self.key)


def features(
    config: RunConfig, data: Dataset, model: keras.Model, place: Place, cache: Path
) -> Features:
    """What the run keeps of the trunk of ``model`` that ends at ``place``."""
    shape = trunk_shape(model, place)
    views, kept = config.augment.views, config.train.features
    assert isinstance(views, int)
    rows = {split: len(data.splits[split]) for split in ("validation", "test")}
    batch = batch_of(config.data.input_size)
    arrays = {"train": Array((views * len(data.splits["train"]), *shape), kept, batch)}
    arrays |= {split: Array((count, *shape), "float32", batch) for split, count in rows.items()}
    key = _key(config, data, model, place)
    return Features(place, key, cache / f"features-{key[:16]}.h5", arrays)


def batch_of(side: int) -> int:
    """How many images of ``side`` pixels the trunk is given at a time."""
    return max(8, min(BATCH, BATCH * SIDE**2 // side**2 // 8 * 8))


def load(
    wanted: Sequence[Features],
    config: RunConfig,
    data: Dataset,
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    told: Callable[[int], None] = lambda done: None,
) -> list[Arrays]:
    """The outputs of trunks of ``model``; those that nobody has computed yet in one pass.

    ``told`` is given how many blocks are safe on the disk, now and then.

    Raises:
        UserError: the disk has no room, or float16 cannot hold the outputs.
    """
    missing = [item for item in wanted if not item.path.exists()]
    if missing:
        _compute(missing, config, data, model, strategy, told)
    found = []
    for item in wanted:
        try:
            found.append(item.read())
        except (DamagedError, FileNotFoundError):  # another process removes what is damaged
            _compute([item], config, data, model, strategy, told)
            found.append(item.read())
    return found


def _compute(
    wanted: Sequence[Features],
    config: RunConfig,
    data: Dataset,
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    told: Callable[[int], None],
) -> None:
    cache = wanted[0].path.parent
    needed = sum(item.nbytes for item in wanted)
    with writing(cache, WHAT, needed), ExitStack() as held:
        for item in sorted(wanted, key=lambda item: item.path):
            held.enter_context(_locked(item, told))
        left = [item for item in wanted if not _is_whole(item)]
        if not left:
            return
        what = f"{WHAT} (train.features=live keeps none)"
        check_space(cache, what, sum(blocks.lacking(item.path, item.arrays) for item in left))
        files = [held.enter_context(Filling(item.path, item.arrays, item.key)) for item in left]
        part = trunk(model, [item.place for item in left])
        _fill(files, config, data, part, strategy, told)
        for file in files:
            file.finish()


@contextmanager
def _locked(item: Features, told: Callable[[int], None]) -> Iterator[None]:
    """Hold the lock of a file; what another process does meanwhile is told as this one's.

    A run that waits for hours, over time limits, is no run that comes to nothing.
    """
    lock, said = item.path.with_name(f".{item.path.name}.lock"), False
    while True:
        try:
            with locked(lock, wait=False):
                yield
                return
        except LockedError:
            if not said:
                print(
                    f"waiting for another process to compute the trunk's outputs ({item.path})",
                    flush=True,
                )
            said = True
        told(blocks.progress(item.path))
        time.sleep(WAIT_SECONDS)


def _is_whole(item: Features) -> bool:
    """Whether its file is there; one that is damaged is removed: hold its lock."""
    try:
        item.read()
    except FileNotFoundError:
        return False
    except DamagedError as error:
        print(f"warning: {item.path} was damaged ({error}); computing it again", flush=True)
        item.path.unlink()
        return False
    return True


def _fill(
    files: Sequence[Filling],
    config: RunConfig,
    data: Dataset,
    part: keras.Model,
    strategy: tf.distribute.Strategy,
    told: Callable[[int], None],
) -> None:
    """Compute the blocks that any of ``files`` lacks, each for all of them at once."""
    first = min(file.done for file in files)
    todo = files[0].blocks[first:]
    forward = _forward(part, strategy, batch_of(config.data.input_size))
    total = sum(block.stop - block.start for block in files[0].blocks)
    with (
        Progress("computing the trunk's outputs of images", total) as progress,
        closing(map_ahead(_pixels(config, data), todo, workers=1, ahead=2)) as images,
    ):
        progress.advance(total - sum(block.stop - block.start for block in todo))
        for block, pixels in zip(todo, images, strict=True):
            for file, rows in zip(files, forward(pixels), strict=True):
                if block.number == file.done:
                    file.write(block, _cast(rows, file.dtype(block)))
            if all(file.synced for file in files):
                told(min(file.done for file in files))
            progress.advance(block.stop - block.start)


def _cast(rows: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):
        cast = rows.astype(dtype)
    if np.isfinite(rows).all() and not np.isfinite(cast).all():
        most = np.abs(rows).max()
        raise UserError(
            f"the trunk's outputs are up to {most:g}, which {dtype} cannot hold; "
            "use train.features=float32"
        )
    return cast


def _pixels(config: RunConfig, data: Dataset) -> Callable[[Block], npt.NDArray[np.uint8]]:
    """A function that gives the images of a block: ``uint8 [B, s, s, C]``."""
    train, size, cut = data.splits["train"], config.data.image_size, config.data.input_size
    drawn: dict[int, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = {}

    def changes(view: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        if view not in drawn:
            drawn.clear()
            drawn[view] = epoch_changes(len(train), size, cut, config.augment, config.seed, view)
        return drawn[view]

    def trained(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        view, row = divmod(rows, len(train))
        parts = []
        for number in np.unique(view):
            moved, lit = changes(int(number))
            own = row[view == number]
            images = data.images[train[own]]
            parts.append(change(images, moved[own], lit[own], config.augment, cut))
        return np.concatenate(parts)

    def images(block: Block) -> npt.NDArray[np.uint8]:
        rows = np.arange(block.start, block.stop)
        if block.array == "train":
            return trained(rows)
        return centre(data.images[data.splits[block.array][rows]], cut)

    return images


def _forward(
    part: keras.Model, strategy: tf.distribute.Strategy, batch: int
) -> Callable[[npt.NDArray[np.uint8]], list[npt.NDArray[Any]]]:
    """A function from images to the outputs of ``part``, each replica computing its share."""
    replicas = strategy.num_replicas_in_sync
    share = -(-batch // replicas)

    compute = tf.function(
        lambda pixels: strategy.run(
            lambda own: keras.tree.flatten(part(own, training=False)), [pixels]
        )
    )

    def forward(pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        lacking = share * replicas - len(pixels)
        whole = np.concatenate([pixels, np.repeat(pixels[-1:], lacking, axis=0)])

        def of(context: Any) -> tf.Tensor:
            first = context.replica_id_in_sync_group * share
            return tf.convert_to_tensor(whole[first : first + share])

        outputs = compute(strategy.experimental_distribute_values_from_function(of))
        return [
            np.concatenate([one.numpy() for one in strategy.experimental_local_results(output)])[
                : len(pixels)
            ]
            for output in outputs
        ]

    return forward


def _key(config: RunConfig, data: Dataset, model: keras.Model, place: Place) -> str:
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
        [sorted(backbones(config.model)), config.model.preprocessing, place],
        [_digest(trunk_layers(model, place)), config.train.features, config.train.precision],
        # GPUs round the factors of a product in "float32": what one gives fits no CPU to 1e-5.
        [software(), bool(tf.config.list_logical_devices("GPU"))],
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
