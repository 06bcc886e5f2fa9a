from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.cluster_config import ClusterConfig, check_memory, minutes
from xray_hpc.config.dataclass_conversion import build
from xray_hpc.errors import UserError


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("setup", "module load", "setup is 'module load'; it must be a list"),
        ("setup", [1], "setup[0] is 1; it must be a text"),
        ("extra", [], "extra is []; it must be a mapping"),
        ("time", "soon", "cluster.time is soon; it must be minutes, HH:MM:SS or D-HH:MM:SS"),
        ("time", 0, "cluster.time is 0; it must be a minute or more"),
        ("mem", "16 GB", "cluster.mem is 16 GB; it must be a size such as 500M or 16G"),
        ("gpus", -1, "cluster.gpus is -1; it must be 0 or more"),
        ("parallel", 0, "cluster.parallel is 0; it must be 1 or more"),
    ],
)
def test_invalid_value_is_reported_with_its_key(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        build(ClusterConfig, {"kind": "slurm", key: value})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (90, 90),
        ("90", 90),
        ("10:30", 11),
        ("04:00:00", 240),
        ("1-0", 1440),
        ("1-02:30", 1590),
        ("2-00:00:01", 2881),
    ],
)
def test_minutes_accepts_slurms_forms(time: str | int, expected: int) -> None:
    assert minutes(time, "cluster.time") == expected


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_minutes_adds_all_parts_rounded_up(days: int, hours: int, mins: int, seconds: int) -> None:
    text = f"{days}-{hours:02d}:{mins:02d}:{seconds:02d}"
    assert minutes(text, "cluster.time") == (days * 24 + hours) * 60 + mins + 1


@pytest.mark.parametrize("memory", ["0", "G", "16 G", "1.5G", "16g"])
def test_check_memory_rejects_an_invalid_size(memory: str) -> None:
    with pytest.raises(UserError, match=r"cluster\.mem is"):
        check_memory(memory, "cluster.mem")


@pytest.mark.parametrize("memory", ["16000", "16G", "16GB", "500M", None])
def test_check_memory_accepts_slurms_forms(memory: str | None) -> None:
    check_memory(memory, "cluster.mem")
