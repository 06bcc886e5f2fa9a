"""Checkpoint files of one run: ``checkpoint/epoch-NNNN-step-NNNNNN.npz``.

Each is an uncompressed npz archive, whose checksums reveal damage. The newest two are retained
until the run has finished.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from xray_hpc.config.dataclass_conversion import build
from xray_hpc.errors import DataError
from xray_hpc.records.atomic_files import atomic_write
from xray_hpc.records.run_progress import checkpoint_name
from xray_hpc.regular_file import open_regular
from xray_hpc.shared_folder import make_subfolder
from xray_hpc.system_errors import describe_system_error

logger = logging.getLogger(__name__)

RETAINED_FILES = 2
METADATA = "metadata"
PATTERN = "epoch-*-step-*.npz"

Arrays = list[npt.NDArray[Any]]


class Position(NamedTuple):
    """A point between two training steps.

    Attributes:
        epoch: how many epochs are complete.
        step: how many steps of the next epoch are complete. After its last step, the work at the
            end of the epoch (validation, callbacks) is still to be done.
    """

    epoch: int
    step: int

    def describe(self, epochs: int, steps: int) -> str:
        """Return the position for a message, in a training of ``epochs`` times ``steps`` steps."""
        if self.step == 0:
            return f"the end of epoch {self.epoch}/{epochs}"
        return f"epoch {self.epoch + 1}/{epochs}, step {self.step}/{steps}"


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a training needs to resume exactly.

    Attributes:
        position: where the training is.
        stopped: whether training was stopped early, so that no epoch follows.
        seconds: training time so far, over all attempts.
        callbacks: JSON values by callback class and attribute name.
        arrays: values of variables by group (model, optimizer, metrics, best weights).
    """

    position: Position
    stopped: bool
    seconds: float
    callbacks: Mapping[str, Mapping[str, Any]]
    arrays: Mapping[str, Arrays]


@dataclass(frozen=True)
class CheckpointStore:
    """Save and load the checkpoints of one run.

    Attributes:
        folder: where the files are.
        identity: names of the run and the software. A checkpoint is resumed only if its identity is
            the same; otherwise the result could differ.
    """

    folder: Path
    identity: Mapping[str, str]

    def save(self, checkpoint: Checkpoint) -> None:
        """Write ``checkpoint`` atomically, then remove all files but the newest two."""
        metadata = {
            "position": list(checkpoint.position),
            "stopped": checkpoint.stopped,
            "seconds": checkpoint.seconds,
            "callbacks": checkpoint.callbacks,
            "arrays": {group: len(arrays) for group, arrays in checkpoint.arrays.items()},
            "identity": dict(self.identity),
        }
        members = {METADATA: np.array(json.dumps(metadata))} | {
            _member(group, i): array
            for group, arrays in checkpoint.arrays.items()
            for i, array in enumerate(arrays)
        }
        path = self.folder / f"{checkpoint_name(*checkpoint.position)}.npz"
        make_subfolder(self.folder)
        with atomic_write(path) as temporary:
            np.savez(temporary, allow_pickle=False, **members)
        retained = [old for old in self._files() if old.name <= path.name][-RETAINED_FILES:]
        # Includes temporary files that a killed process left behind.
        found = {*self.folder.glob(PATTERN), *self.folder.glob(f".*.{PATTERN}")}
        for old in found - set(retained):
            with contextlib.suppress(OSError):  # the next save tries again
                old.unlink()

    def load_newest(self) -> Checkpoint | None:
        """Return the newest undamaged checkpoint, or ``None`` if there is none.

        Damaged files are removed with a warning, so that they do not count among the newest two.

        Raises:
            DataError: the checkpoint belongs to another run or other software.
            OSError: the file cannot be read.
        """
        files = self._files()
        for path in set(self.folder.glob(PATTERN)).difference(files):
            logger.warning("Ignored %s, which is not a regular file.", path)
        while files:
            path = files.pop()
            try:
                checkpoint, identity = _load(path)
            except Exception as error:  # damaged bytes can raise nearly anything
                if describe_system_error(error):
                    raise
                path.unlink(missing_ok=True)
                fallback = "the previous checkpoint" if files else "epoch 1"
                logger.warning("Removed the damaged %s; using %s.", path, fallback)
                continue
            self._check_identity(identity)
            return checkpoint
        return None

    def _check_identity(self, saved: Mapping[str, str]) -> None:
        names = sorted(saved.keys() | self.identity.keys())
        changed = [name for name in names if saved.get(name) != self.identity.get(name)]
        if changed:
            owner = "another run" if "run" in changed else "other software"
            changes = ", ".join(
                f"{name} {saved.get(name, 'unset')} then, {self.identity.get(name, 'unset')} now"
                for name in changed
            )
            raise DataError(
                f"the checkpoint belongs to {owner} ({changes}), so resuming could change the "
                f"result; restore the previous version, or remove {self.folder} to train from the "
                "start"
            )

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(PATTERN) if path.is_file())


@dataclass(frozen=True)
class _Metadata:
    """The JSON text in a checkpoint; see :class:`Checkpoint`."""

    position: tuple[int, ...]
    stopped: bool
    seconds: float
    callbacks: dict[str, dict[str, Any]]
    arrays: dict[str, int]  # number of arrays of each group
    identity: dict[str, str]


def _load(path: Path) -> tuple[Checkpoint, dict[str, str]]:
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        # Arrays that share their bytes could be larger than the memory.
        if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
            raise ValueError("the arrays are larger than the file")
        metadata = build(_Metadata, json.loads(str(_read_array(archive, METADATA))))
        arrays = {
            group: [_read_array(archive, _member(group, i)) for i in range(count)]
            for group, count in metadata.arrays.items()
        }
    position = Position(*metadata.position)
    if path.stem != checkpoint_name(*position):
        raise ValueError("the file is named for another position")
    checkpoint = Checkpoint(
        position, metadata.stopped, metadata.seconds, metadata.callbacks, arrays
    )
    return checkpoint, metadata.identity


def _read_array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """Return a stored array. Not ``np.load``, which allocates any shape that a header states."""
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    content = archive.read(member)  # and compare its checksum
    header = io.BytesIO(content)
    if np.lib.format.read_magic(header) != (1, 0):
        raise ValueError(f"{name} is of another version")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(header)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - header.tell():
        raise ValueError(f"{name} has {len(content)} bytes, not {shape} of {dtype}")
    order: Literal["F", "C"] = "F" if fortran else "C"
    return np.ndarray(shape, dtype, content, header.tell(), order=order)


def _member(group: str, index: int) -> str:
    return f"{group}-{index:04}"
