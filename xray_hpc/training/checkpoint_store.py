"""Checkpoint files of one run: ``checkpoint/epoch-NNNN-step-NNNNNN.npz``.

Each is an uncompressed npz archive, whose checksums reveal damage. The newest two are retained
until the run has finished.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xray_hpc.errors import DataError
from xray_hpc.records.atomic_files import atomic_write
from xray_hpc.records.run_progress import checkpoint_name
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
        while files:
            path = files.pop()
            try:
                checkpoint, identity = _load(path)
            except Exception as error:  # damaged bytes can raise nearly anything
                if describe_system_error(error):
                    raise
                path.unlink()
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
        return sorted(self.folder.glob(PATTERN))


def _load(path: Path) -> tuple[Checkpoint, dict[str, str]]:
    # np.load(path) would leave a damaged file open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        metadata = json.loads(str(archive[METADATA]))
        identity, counts = metadata.pop("identity"), metadata.pop("arrays")
        arrays = {
            group: [archive[_member(group, i)] for i in range(count)]
            for group, count in counts.items()
        }
    position = Position(*metadata.pop("position"))
    return Checkpoint(**metadata, position=position, arrays=arrays), identity


def _member(group: str, index: int) -> str:
    return f"{group}-{index:04}"
