from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.cluster_config import ClusterConfig, check_memory, minutes
from xray_hpc.config.dataclass_conversion import build
from xray_hpc.errors import ConfigError, UserError


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("setup", "module load", "setup is 'module load'; it must be a list"),
        ("setup", [1], "setup[0] is 1; it must be a text"),
        ("extra", [], "extra is []; it must be a mapping"),
        ("account", "a\n", r"cluster.account is 'a\n'; it must be one line of text, or null"),
        ("container", "a\nb", r"cluster.container is 'a\nb'; it must be one line of text, or null"),
        ("partition", "", "cluster.partition is ''; it must be one line of text, or null"),
        (
            "setup",
            ["module load cuda\n#SBATCH --nodes=2"],
            r"cluster.setup is 'module load cuda\n#SBATCH --nodes=2'; it must be shell code; give "
            "sbatch options in cluster.extra",
        ),
        ("partition", 7, "partition is 7; it must be a text or a list"),
        *(
            (
                "time",
                time,
                f"cluster.time is {time}; it must be minutes, HH:MM:SS or D-HH:MM:SS, "
                "with MM and SS up to 59",
            )
            for time in ("soon", "12:99:00", "1:60", "1-02:60", "1-02:00:99")
        ),
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


def test_lists_are_joined_by_commas() -> None:
    values = {
        "kind": "slurm",
        "partition": ["a", "b"],
        "cpu_job": {"partition": ["c", "d"]},
        "extra": {"exclude": ["n1", "n[3-5]"], "licenses": "x:1,y"},
    }
    cluster = build(ClusterConfig, values)
    assert (cluster.partition, cluster.cpu_job.partition) == ("a,b", "c,d")
    assert cluster.extra == {"exclude": "n1,n[3-5]", "licenses": "x:1,y"}


@pytest.mark.parametrize(
    ("option", "fix"),
    [
        ("clusters", "login node"),
        ("--clusters", "login node"),
        ("nodes", "cluster.gpus"),
        ("ntasks_per_node", "cluster.gpus"),
        ("ntask", "cluster.gpus"),  # sbatch accepts beginnings
        ("cpus-per-task", "cluster.cpus"),
        ("no-requeue", "cluster.on_failure"),
        ("requeue", "cluster.on_failure"),
        ("no_kill", "cluster.on_failure"),
        ("array", "cluster.parallel"),
        ("dependency", "launch when"),
        ("wait", "wait=true"),
        ("parsable", "leave it out"),
        ("test-only", "dry_run=true"),
        ("output", "xray_hpc.logs"),
        ("error", "xray_hpc.logs"),
        ("open-mode", "xray_hpc.logs"),
        ("export", "cluster.setup"),
        ("signal", "cluster.signal_time"),
        ("job-name", "use name"),
        ("container", "cluster.container"),
        ("uid", "other user"),
        *((name, f"use cluster.{name}") for name in ("account", "constraint", "mem", "partition")),
        *((name, f"use cluster.{name}") for name in ("qos", "time")),
        ("mem-per-cpu", "use cluster.mem"),
        ("gpus", "use cluster.gpus"),
    ],
)
@pytest.mark.parametrize("value", ["1", True, False, None])
def test_sbatch_option_that_breaks_the_launch_is_refused_with_another_way(
    option: str, fix: str, value: str | bool | None
) -> None:
    with pytest.raises(UserError, match=rf"^cluster\.extra\.{option} is not accepted: ") as caught:
        ClusterConfig("slurm", extra={option: value})
    assert fix in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("option", ["M", "N", "n", "-w", "exclude=a --clusters", "", "a\nb", "_"])
def test_sbatch_option_must_have_its_long_name(option: str) -> None:
    with pytest.raises(UserError, match="is not the long name of an sbatch option"):
        ClusterConfig("slurm", extra={option: "1"})


def test_sbatch_option_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^cluster\.extra\.comment is 'a\\nb'"):
        ClusterConfig("slurm", extra={"comment": "a\nb"})


def test_sbatch_options_have_their_long_names() -> None:
    extra: dict[str, str | int | bool | None] = {"mem_bind": "local", "--hold": True, "nice": 5}
    cluster = ClusterConfig("slurm", extra=extra)
    assert cluster.extra == {"mem-bind": "local", "hold": True, "nice": 5}


@pytest.mark.parametrize("count", [2, "2", None, "a100", "a100:0"])
def test_number_of_gpus_without_a_type_is_refused_in_extra(count: str | int | None) -> None:
    with pytest.raises(UserError, match=r"^cluster\.extra\.gpus-per-node is .* use cluster\.gpus"):
        ClusterConfig("slurm", extra={"gpus-per-node": count})


@pytest.mark.parametrize("gres", ["gpu", "gpu:2", "gpu:a100:2", "nvme:1,gpu:2", "gres:gpu:1"])
def test_gpus_are_refused_in_gres(gres: str) -> None:
    with pytest.raises(UserError, match=r"^cluster\.extra\.gres is .* gpus-per-node with a type"):
        ClusterConfig("slurm", extra={"gres": gres})


def test_extra_takes_typed_gpus_and_other_gres() -> None:
    extra: dict[str, str | int | bool | None] = {"gpus_per_node": "a100:2", "gres": "nvme:1"}
    assert ClusterConfig("slurm", extra=extra).extra == {
        "gpus-per-node": "a100:2",
        "gres": "nvme:1",
    }


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (90, 90),
        ("90", 90),
        ("10:30", 11),
        ("90:00", 90),
        ("04:00:00", 240),
        ("1-0", 1440),
        ("1-02:30", 1590),
        ("2-00:00:01", 2881),
    ],
)
def test_minutes_accepts_slurms_forms(time: str | int, expected: int) -> None:
    assert minutes(time, "cluster.time") == expected


@pytest.mark.parametrize("time", ["9" * 5000, "1-" + "9" * 5000, "9" * 5000 + ":00"])
def test_time_of_thousands_of_digits_is_refused(time: str) -> None:
    with pytest.raises(ConfigError):
        minutes(time, "cluster.time")


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_minutes_adds_all_parts_rounded_up(days: int, hours: int, mins: int, seconds: int) -> None:
    text = f"{days}-{hours:02d}:{mins:02d}:{seconds:02d}"
    assert minutes(text, "cluster.time") == (days * 24 + hours) * 60 + mins + 1


@pytest.mark.parametrize(
    "memory", ["0", "G", "16 G", "1.5G", "16g", "9" * 400, "1\N{ARABIC-INDIC DIGIT ONE}G"]
)
def test_check_memory_rejects_an_invalid_size(memory: str) -> None:
    with pytest.raises(UserError, match=r"cluster\.mem is"):
        check_memory(memory, "cluster.mem")


@pytest.mark.parametrize("memory", ["16000", "16G", "16GB", "500M", None])
def test_check_memory_accepts_slurms_forms(memory: str | None) -> None:
    check_memory(memory, "cluster.mem")
