from __future__ import annotations

import pytest

from xray_hpc.monitoring.gpu_hours import gpu_hours
from xray_hpc.records.run_record import Attempt


def one(
    start: int, end: int | None, job: str | None = "7", node: str = "n1", gpus: int = 1
) -> Attempt:
    ended = None if end is None else f"2026-01-01T{end:02}:00:00+00:00"
    return Attempt(f"2026-01-01T{start:02}:00:00+00:00", node, job, ended=ended, gpus=gpus)


@pytest.mark.parametrize(
    ("attempts", "hours"),
    [
        pytest.param([], 0, id="none"),
        pytest.param([one(1, 3)], 2, id="one"),
        pytest.param([one(1, 3, gpus=4)], 8, id="several GPUs"),
        pytest.param([one(1, 3, gpus=0)], 0, id="no GPU"),
        pytest.param([one(1, None)], 0, id="not ended"),
        pytest.param([one(1, 3), one(5, 6)], 3, id="again"),
        pytest.param([one(1, 3), one(2, 5)], 4, id="side by side in a job"),
        pytest.param([one(1, 3, "7"), one(1, 3, "8")], 4, id="two jobs"),
        pytest.param([one(1, 3, None), one(2, 3, None)], 2, id="side by side without Slurm"),
        pytest.param([one(1, 3, None, "n1"), one(1, 3, None, "n2")], 4, id="two machines"),
    ],
)
def test_gpu_hours_count_shared_gpus_once(attempts: list[Attempt], hours: float) -> None:
    assert gpu_hours(attempts) == pytest.approx(hours)
