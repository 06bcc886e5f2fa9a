"""``checkpoint/``: where a training stands between two steps, so that another process can go on.

A file is an uncompressed npz archive, whose checksums tell a damaged one. The newest two are kept
until the run is finished.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xray_hpc.errors import DataError
from xray_hpc.records.atomic_files import replacing
from xray_hpc.records.run_progress import checkpoint_name

KEPT = 2
ABOUT = "about"
FILES = "epoch-*-step-*.npz"

Arrays = list[npt.NDArray[Any]]


class Position(NamedTuple):
    """A place between two steps: ``epoch`` epochs are done, and ``step`` steps of the next.

    When these are all of its steps, what belongs to its end is still to come.
    """

    epoch: int
    step: int

    def words(self, epochs: int, steps: int) -> str:
        """What is done of ``epochs`` epochs of ``steps`` steps."""
        if self.step == 0:
            return f"epoch {self.epoch}/{epochs}"
        return f"step {self.step}/{steps} of epoch {self.epoch + 1}/{epochs}"


@dataclass(frozen=True)
class State:
    """A training between two steps.

    Attributes:
        position: where it is.
        over: whether no epoch is to follow, because training was stopped early.
        seconds: what it took, in all processes that worked on it.
        callbacks: what each callback remembers: JSON values by class and attribute.
        arrays: the values of variables, by what they belong to.
    """

    position: Position
    over: bool
    seconds: float
    callbacks: Mapping[str, Mapping[str, Any]]
    arrays: Mapping[str, Arrays]


@dataclass(frozen=True)
class StateFiles:
    """The states of one run, in its ``folder``.

    ``origin`` names the run and the software: only what has the same goes on to the same result.
    """

    folder: Path
    origin: Mapping[str, str]

    def write(self, state: State) -> None:
        """Write ``state`` in one step, then remove all files but the newest two."""
        about = {
            "position": list(state.position),
            "over": state.over,
            "seconds": state.seconds,
            "callbacks": state.callbacks,
            "arrays": {group: len(arrays) for group, arrays in state.arrays.items()},
            "origin": dict(self.origin),
        }
        named = {
            _member(group, i): array
            for group, arrays in state.arrays.items()
            for i, array in enumerate(arrays)
        }
        path = self.folder / f"{checkpoint_name(*state.position)}.npz"
        with replacing(path) as temporary:
            np.savez(temporary, allow_pickle=False, **{ABOUT: np.array(json.dumps(about))}, **named)
        kept = [old for old in self._files() if old.name <= path.name][-KEPT:]
        # What a killed process left half-written, too.
        for old in {*self.folder.glob(FILES), *self.folder.glob(f".*.{FILES}")} - set(kept):
            with contextlib.suppress(OSError):  # the next one tries again
                old.unlink()

    def newest(self) -> State | None:
        """The newest state that is whole; ``None`` where there is none.

        A damaged one is removed, so that it is none of the two that are kept, and a warning goes
        to standard error.

        Raises:
            UserError: it is of another origin.
            OSError: it cannot be read.
        """
        files = self._files()
        while files:
            path = files.pop()
            try:
                state, origin = _read(path)
            except Exception as error:  # damaged bytes can raise nearly anything
                if isinstance(error, MemoryError) or getattr(error, "errno", None):
                    raise
                then = "going back to the one before" if files else "training from the first epoch"
                print(f"warning: {path} is damaged; removing it and {then}", file=sys.stderr)
                path.unlink()
                continue
            self._check(origin)
            return state
        return None

    def _check(self, origin: Mapping[str, str]) -> None:
        names = sorted(origin.keys() | self.origin.keys())
        changed = [name for name in names if origin.get(name) != self.origin.get(name)]
        if changed:
            what = "another run" if "run" in changed else "other software"
            told = ", ".join(
                f"{name} {origin.get(name)} then, {self.origin.get(name)} now" for name in changed
            )
            raise DataError(
                f"the checkpoint is of {what} ({told}), and going on would give other results; "
                f"go back to that, or remove {self.folder} to train anew"
            )

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(FILES))


def _read(path: Path) -> tuple[State, dict[str, str]]:
    # opened here, because NumPy leaves a damaged file open
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        about = json.loads(str(archive[ABOUT]))
        origin, counts = about.pop("origin"), about.pop("arrays")
        arrays = {
            group: [archive[_member(group, i)] for i in range(count)]
            for group, count in counts.items()
        }
    return State(**about | {"position": Position(*about["position"]), "arrays": arrays}), origin


def _member(group: str, index: int) -> str:
    return f"{group}-{index:04}"
