"""Test the names and the order of checkpoints."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.records.paths import RunPaths
from xray_hpc.records.run_progress import checkpoint_name, latest_checkpoint

PLACES = st.tuples(st.integers(0, 9999), st.integers(0, 999_999))


def test_latest_checkpoint_without_checkpoints_is_none(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    assert latest_checkpoint(paths) is None
    paths.checkpoint_folder.mkdir()
    (paths.checkpoint_folder / ".0123.epoch-0002-step-000001.npz").touch()  # half-written
    (paths.checkpoint_folder / "else.npz").touch()
    assert latest_checkpoint(paths) is None


@given(st.lists(PLACES, min_size=1))
def test_latest_checkpoint_has_the_most_progress(places: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        paths = RunPaths(Path(name))
        paths.checkpoint_folder.mkdir()
        for place in places:
            (paths.checkpoint_folder / f"{checkpoint_name(*place)}.npz").touch()
        assert latest_checkpoint(paths) == list(max(places))
