"""``checkpoint/``: where a training stands after an epoch, so that another process can go on.

A file is an uncompressed npz archive, whose checksums tell a damaged one. The newest two are kept
until the run is finished.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xray_hpc.runs.files import replacing

KEPT = 2
ABOUT = "about"

Arrays = list[npt.NDArray[Any]]


@dataclass(frozen=True)
class State:
    """A training after some epochs.

    Attributes:
        epochs: how many are done.
        over: whether no epoch is to follow, because training was stopped early.
        seconds: what they took, in all processes that worked on them.
        callbacks: what each callback remembers: JSON values by class and attribute.
        arrays: the values of variables, by what they belong to.
    """

    epochs: int
    over: bool
    seconds: float
    callbacks: Mapping[str, Mapping[str, Any]]
    arrays: Mapping[str, Arrays]


def write_state(folder: Path, state: State, versions: Mapping[str, str]) -> None:
    """Write ``state`` in one step, then remove all files but the newest two."""
    about = {item.name: getattr(state, item.name) for item in dataclasses.fields(state)}
    about["arrays"] = {group: len(arrays) for group, arrays in state.arrays.items()}
    named = {
        _member(group, i): array
        for group, arrays in state.arrays.items()
        for i, array in enumerate(arrays)
    }
    path = folder / f"epoch-{state.epochs - 1:04}.npz"
    with replacing(path) as temporary:
        text = json.dumps(about | {"versions": dict(versions)})
        np.savez(temporary, allow_pickle=False, **{ABOUT: np.array(text)}, **named)
    kept = [old for old in _files(folder) if old.name <= path.name][-KEPT:]
    # What a killed process left half-written, too.
    for old in {*folder.glob("epoch-*.npz"), *folder.glob(".*.epoch-*.npz")} - set(kept):
        with contextlib.suppress(OSError):  # the next epoch tries again
            old.unlink()


def newest_state(folder: Path, versions: Mapping[str, str]) -> State | None:
    """The newest state that can be read, if software of these ``versions`` wrote it.

    A warning goes to standard error for each file that is passed over.
    """
    for path in reversed(_files(folder)):
        try:
            state, written_by = _read(path)
        except Exception as error:  # damaged bytes can raise nearly anything
            why = (isinstance(error, OSError) and error.strerror) or "it is damaged"
            print(
                f"warning: {path} cannot be read ({why}); going back to the checkpoint before",
                file=sys.stderr,
            )
            continue
        if written_by == versions:
            return state
        changed = ", ".join(
            f"{name} {written_by.get(name)} then, {versions.get(name)} now"
            for name in sorted(written_by.keys() | versions)
            if written_by.get(name) != versions.get(name)
        )
        print(
            f"warning: {path} is of other software ({changed}); training from the first epoch",
            file=sys.stderr,
        )
        return None
    return None


def remove_states(folder: Path) -> None:
    """Remove every checkpoint, when the run is finished."""
    shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path) -> tuple[State, dict[str, str]]:
    # opened here, because NumPy leaves a damaged file open
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        about = json.loads(str(archive[ABOUT]))
        written_by = about.pop("versions")
        counts = about.pop("arrays")
        arrays = {
            group: [archive[_member(group, i)] for i in range(count)]
            for group, count in counts.items()
        }
    return State(**about, arrays=arrays), written_by


def _member(group: str, index: int) -> str:
    return f"{group}-{index:04}"


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*.npz"))
