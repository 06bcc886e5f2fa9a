"""Memory limits and OOM kills from cgroup files."""

from __future__ import annotations

from pathlib import Path

import pytest

from xray_hpc import cgroup_memory as module
from xray_hpc.cgroup_memory import (
    available_memory,
    job_ran_out_of_memory,
    memory_cgroup,
    memory_limit,
    oom_kill_count,
)

V1_KILLS = "oom_kill_disable 0\nunder_oom 0\noom_kill 2"
V2_KILLS = "low 0\nhigh 0\nmax 105\noom 1\noom_kill 2\noom_group_kill 0"
NO_LIMIT = "9223372036854771712"


@pytest.fixture
def job_cgroup(tmp_path: Path) -> Path:
    """The cgroup of a job, with one for a task of its batch step."""
    folder = tmp_path / "uid_0" / "job_17"
    (folder / "step_batch" / "task_0").mkdir(parents=True)
    return folder


def write(cgroup: Path, **files: str) -> None:
    """Write ``memory.<name>`` files into a cgroup."""
    for name, text in files.items():
        (cgroup / f"memory.{name}").write_text(text + "\n")


@pytest.mark.parametrize("files", [{"oom_control": V1_KILLS}, {"events": V2_KILLS}])
def test_oom_kill_count_reads_both_cgroup_versions(job_cgroup: Path, files: dict[str, str]) -> None:
    write(job_cgroup, **files)
    assert oom_kill_count(job_cgroup) == 2


def test_everything_is_unknown_without_cgroups(job_cgroup: Path) -> None:
    assert oom_kill_count(None) == oom_kill_count(job_cgroup) == 0
    assert not job_ran_out_of_memory(None)
    assert memory_limit(None) is None


def test_job_ran_out_of_memory_includes_other_steps(job_cgroup: Path) -> None:
    task = job_cgroup / "step_batch" / "task_0"
    write(task, oom_control="oom_kill 0", limit_in_bytes=NO_LIMIT)
    write(job_cgroup, oom_control="oom_kill 0", limit_in_bytes="314572800")
    write(job_cgroup, max_usage_in_bytes="314572800")
    assert job_ran_out_of_memory(task)
    write(job_cgroup, max_usage_in_bytes="210000000")
    assert not job_ran_out_of_memory(task)
    write(job_cgroup, events=V2_KILLS)
    assert job_ran_out_of_memory(task)


def test_memory_limit_is_the_lowest_of_all_parents(job_cgroup: Path) -> None:
    task = job_cgroup / "step_batch" / "task_0"
    write(task, limit_in_bytes=NO_LIMIT)
    write(job_cgroup, limit_in_bytes="314572800")
    assert memory_limit(task) == 300
    write(task, max="max")
    write(job_cgroup.parent, max="104857600")
    assert memory_limit(task) == 100


def test_memory_cgroup_is_absolute_if_there_is_one() -> None:
    cgroup = memory_cgroup()
    assert cgroup is None or cgroup.is_absolute()


@pytest.mark.parametrize(
    ("slurm", "cgroup", "mebibytes"),
    [
        ("", None, 1024),
        ("0", None, 1024),
        ("300", None, 300),
        ("300", 200, 200),
    ],
)
def test_available_memory_is_the_least_limit(
    monkeypatch: pytest.MonkeyPatch, slurm: str, cgroup: int | None, mebibytes: int
) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_NODE", slurm)
    monkeypatch.setattr(module, "memory_limit", lambda _: cgroup)
    monkeypatch.setattr(module.resource, "getrlimit", lambda _: (2**30, -1))
    assert available_memory() == mebibytes * 2**20
