"""What a cluster would refuse, or keep in its queue for ever, is said before anything is made."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.cluster_config import ClusterConfig, CpuJobConfig
from xray_hpc.config.run_config import ModelConfig
from xray_hpc.config.sweep_settings import SweepSettings
from xray_hpc.errors import UserError
from xray_hpc.launching.preflight import checks, disk_space
from xray_hpc.launching.preflight.node_fit import matches

Check = Callable[..., list[str]]
SMALL = CpuJobConfig(mem="4G")
URGENT = {"partition": "fast", "account": "lungs", "qos": "urgent", "time": 60}


@pytest.fixture
def check(site: Any, composer: Any) -> Check:
    """Check a sweep of one run on a cluster with these keys; notes on its folders are left out."""
    plan = composer.plan([])

    def check(**keys: Any) -> list[str]:
        cluster = ClusterConfig("slurm", **{"cpu_job": SMALL, **keys})
        settings = dataclasses.replace(plan.settings, cluster=cluster)
        notes = checks.check(dataclasses.replace(plan, settings=settings), 1)
        return [note for note in notes if not note.startswith(("results", "cache"))]

    return check


def test_what_fits_is_taken_without_a_word(check: Check) -> None:
    assert check() == []
    assert check(**URGENT, mem="4G") == []
    assert check(partition="big", account="lungs", constraint="a100&ib", mem="400G", cpus=64) == []


REFUSED = [
    (
        {"partition": "mian"},
        "cluster.partition 'mian' is unknown; did you mean 'main'? "
        "(valid: big, closed, ended, fast, main, physicists, short)",
    ),
    (
        {"cpu_job": CpuJobConfig(partition="shrt")},
        "cluster.cpu_job.partition 'shrt' is unknown; did you mean 'short'? "
        "(valid: big, closed, ended, fast, main, physicists, short)",
    ),
    ({"partition": "ended"}, "partition 'ended' takes no jobs now (DRAIN); use another"),
    (
        {"account": "lugns"},
        "cluster.account 'lugns' is unknown; did you mean 'lungs'? (valid: lab, lungs, root)",
    ),
    (
        {"account": "hearts"},
        "user {user} may not use cluster.account 'hearts' (valid: lab, lungs, root)",
    ),
    (
        {"qos": "urgant"},
        "cluster.qos 'urgant' is unknown; did you mean 'urgent'? "
        "(valid: long, normal, tiny, urgent)",
    ),
    ({"qos": "urgent"}, "cluster.qos 'urgent' is not for account lab (valid: normal, tiny)"),
    (
        {"partition": "big", "account": "root"},
        "partition 'big' is not for cluster.account 'root' (allowed: lungs)",
    ),
    ({"partition": "fast"}, "partition 'fast' is not for cluster.qos 'normal' (allowed: urgent)"),
    (
        {"partition": "physicists", "gpus": 0},
        "partition 'physicists' is not for user {user}'s groups (allowed: daemon)",
    ),
    (
        {"partition": "short", "time": "2-00:00:00"},
        "cluster.time is 2880 minutes, more than partition 'short' allows; use 2160 or less",
    ),
    (
        {**URGENT, "time": 121},
        "cluster.time is 121 minutes, more than QOS 'urgent' allows; use 120 or less",
    ),
    (
        {"extra": {"partition": "short", "time": "3-0"}},
        "cluster.extra.time is 4320 minutes, more than partition 'short' allows; use 2160 or less",
    ),
    (
        {"cpu_job": CpuJobConfig(partition="short", time=9999)},
        "cluster.cpu_job.time is 9999 minutes, more than partition 'short' allows; "
        "use 2160 or less",
    ),
    (
        {"partition": "short", "gpus": 3},
        "cluster.gpus is 3, but no node of partition 'short' has more than 2 GPUs; use 2 or fewer",
    ),
    (
        {"extra": {"gpus-per-node": "a100:5"}},
        "cluster.extra.gpus-per-node is 5, but no node of partition 'main' has more than 4 GPUs "
        "of type a100; use 4 or fewer",
    ),
    (
        {"extra": {"gres": "gpu:v10:1"}},
        "cluster.extra.gres: the type of GPU 'v10' is unknown; did you mean 'v100'? "
        "(valid: a100, v100)",
    ),
    (
        {"constraint": "cpu"},
        "cluster.gpus is 1, but no node of partition 'main' with the features 'cpu' has a GPU; "
        "use another partition, or 0",
    ),
    (
        {"constraint": "a101"},
        "cluster.constraint: the feature 'a101' is unknown; did you mean 'a100'? "
        "(valid: a100, cpu, drawn, gen8, ib)",
    ),
    (
        {"constraint": "a100&cpu"},
        "cluster.constraint is 'a100&cpu', but no node of partition 'main' has these features "
        "together",
    ),
    (
        {"partition": "short", "mem": "50G"},
        "cluster.mem is 50G, but no node of partition 'short' with 1 GPU gives a job more than "
        "40000M; use 40000M or less",
    ),
    (
        {"constraint": "drawn", "gpus": 2, "cpus": 9},
        "cluster.cpus is 9, but no node of partition 'main' with the features 'drawn' with 2 GPUs "
        "gives a job more than 8; use 8 or less",
    ),
    (
        {**URGENT, "mem": "9G"},
        "cluster.mem is 9G, but no node of partition 'fast' with 1 GPU gives a job more than "
        "8000M; use 8000M or less",
    ),
    (
        {"cpu_job": CpuJobConfig(partition="short", cpus=9)},
        "cluster.cpu_job.cpus is 9, but no node of partition 'short' gives a job more than 8; "
        "use 8 or less",
    ),
]


@pytest.mark.parametrize(("keys", "message"), REFUSED, ids=[str(keys) for keys, _ in REFUSED])
def test_what_cannot_run_is_refused_with_the_nearest_that_can(
    check: Check, site: Any, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as refused:
        check(**keys)
    assert str(refused.value) == message.format(user=site.user)


def test_of_several_partitions_one_that_takes_the_job_is_enough(check: Check) -> None:
    assert check(partition="short,main", time="9-0") == []
    with pytest.raises(UserError, match="'nowhere' is unknown"):
        check(partition="main,nowhere")


def test_a_cluster_without_a_default_partition_asks_for_one(check: Check, site: Any) -> None:
    none = site.recorded("partitions.txt").replace("Default=YES", "Default=NO")
    site.answer("scontrol", "*show partition", none)
    with pytest.raises(UserError, match=r"no default partition; set cluster.partition \(valid: b"):
        check()


def test_without_accounting_any_account_will_do(check: Check, site: Any) -> None:
    site.answer("sacctmgr", "*", "no", code=1)
    assert check(account="anybody", qos="any") == []


def test_an_account_of_another_user_will_do_where_slurm_does_not_look(
    check: Check, site: Any
) -> None:
    config = site.recorded("config.txt").replace("associations,limits,qos", "none")
    site.answer("scontrol", "*show config", config)
    assert check(account="hearts") == []


def test_an_account_of_ones_own_will_do_where_slurm_hides_the_list_of_all(
    check: Check, site: Any
) -> None:
    site.answer("sacctmgr", "*parentname*", "")  # so with PrivateData=accounts,users
    assert check(account="lungs") == []
    with pytest.raises(UserError, match=r"'lugns' is unknown; did you mean 'lungs'\?"):
        check(account="lugns")


def test_a_partition_that_is_down_takes_jobs_for_later(check: Check) -> None:
    assert check(partition="closed", cpu_job=CpuJobConfig(partition="main", mem="4G")) == [
        "partition 'closed' is down now; its jobs wait until it is up"
    ]


def test_nodes_that_are_all_away_are_a_note(check: Check, site: Any) -> None:
    site.answer("scontrol", "*show node", site.recorded("nodes_away.txt"))
    assert check(gpus=1) == [
        "every node of partition 'main' that fits is down or drained now (node1, node2); jobs wait"
    ]
    assert check(gpus=0) == []


def test_a_controller_that_is_away_is_said(check: Check, site: Any) -> None:
    site.answer("scontrol", "*", "Unable to contact slurm controller (connect failure)", code=1)
    with pytest.raises(UserError, match=r"^Slurm does not answer \(Unable .*\); try again later$"):
        check()


FEATURES = st.lists(st.sampled_from("abcd"), unique=True).map(frozenset)
EXPRESSIONS = st.recursive(
    st.sampled_from("abcd"),
    lambda inner: st.tuples(inner, st.sampled_from("&|"), inner).map(lambda t: f"({''.join(t)})"),
    max_leaves=6,
)


@given(EXPRESSIONS, FEATURES)
def test_a_node_that_satisfies_a_constraint_is_never_passed_over(
    constraint: str, features: frozenset[str]
) -> None:
    truth = "".join(str(c in features) if c in "abcd" else c for c in constraint)
    if eval(truth):
        assert matches(constraint, features)


# The disk


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make every file system have so many blocks of 1 MB and so many files free."""

    def disk(*, megabytes: int = 10**6, free: int = 10**6, files: int = 10**7) -> None:
        size = os.statvfs_result(
            (10**6, 10**6, 10**7, megabytes, megabytes, files, free, free, 0, 255)
        )
        monkeypatch.setattr(os, "statvfs", lambda path: size)

    return disk


def test_too_little_room_for_the_results_is_refused(
    check: Check, disk: Callable[..., None], tmp_path: Path
) -> None:
    disk(megabytes=3)
    with pytest.raises(UserError) as refused:
        check()
    assert str(refused.value) == (
        f"results: {tmp_path} has 3.0 MB free, but about 3.2 MB are needed; "
        "remove what is not needed there, or put it elsewhere"
    )


@pytest.mark.parametrize(
    ("model", "parallel", "room"),
    [
        # Weights of 0.233 GB, eight times while a run trains, then once.
        (ModelConfig("ft", "resnet152v2", weights="none"), None, "18.9 GB"),
        (ModelConfig("ft", "resnet152v2", weights="none"), 2, "5.8 GB"),
        (ModelConfig("vgg"), None, "1.8 GB"),
        (ModelConfig("vgg"), 1, "540.0 MB"),
    ],
)
def test_room_may_be_needed_for_checkpoints_of_runs_at_once_and_for_all_models(
    tmp_path: Path,
    composer: Any,
    disk: Callable[..., None],
    model: ModelConfig,
    parallel: int | None,
    room: str,
) -> None:
    plan = composer.plan([])
    settings = dataclasses.replace(plan.settings, cluster=ClusterConfig("slurm", parallel=parallel))
    runs = [dataclasses.replace(plan.runs[0].config, model=model)] * 10
    number, unit = room.split()
    disk(megabytes=round(float(number) * {"GB": 980, "MB": 0.98}[unit]))
    assert f"these runs may come to need {room}" in "\n".join(disk_space.check(settings, runs))


def test_so_are_too_few_files(check: Check, disk: Callable[..., None]) -> None:
    disk(free=12)
    with pytest.raises(UserError, match="has room for 12 files, but about 40 are needed"):
        check()


def test_a_file_system_that_does_not_count_files_has_room(
    check: Check, disk: Callable[..., None]
) -> None:
    disk(free=0, files=0)
    assert check() == []


def test_results_that_nodes_may_not_see_are_a_note() -> None:
    settings = SweepSettings(
        cluster=ClusterConfig("slurm"),
        name="s",
        results=Path("/tmp/results"),
        cache=Path("/dev/shm/cache"),
    )
    notes = disk_space.check(settings, [])
    assert notes[0] == "results is in /tmp/results, which most nodes have each for itself"
    assert notes[1:] in (
        ["cache is in /dev/shm/cache, in the memory of this machine; nodes may see another"],
        [],  # where that is no file system of its own
    )


def test_the_type_of_a_file_system_is_that_of_its_mount_point(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("server:/home /home nfs4 rw 0 0\ntmpfs /dev/shm tmpfs rw,nosuid 0 0\n")
    assert disk_space.file_systems(mounts) == {Path("/home"): "nfs4", Path("/dev/shm"): "tmpfs"}


# The Python of the jobs


def test_a_python_that_has_the_package_is_taken(check: Check) -> None:
    assert check(python=sys.executable, setup=("echo hello",)) == []


def test_one_that_would_find_it_only_in_this_folder_does_not(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    with pytest.raises(UserError, match="cannot run xray_hpc"):
        check(python=f"{sys.executable} -E -S")


def test_one_that_has_it_by_a_snapshot_does(check: Check) -> None:
    # Of all that this python lacks, it is not xray_hpc that is missed.
    with pytest.raises(UserError, match="No module named 'tensorflow'"):
        check(python=f"{sys.executable} -S", snapshot=True)


def test_one_that_does_not_is_refused_with_what_it_said(check: Check) -> None:
    python = f"{sys.executable} -I -S"  # sees nothing that is installed
    with pytest.raises(UserError) as refused:
        check(python=python)
    assert str(refused.value) == (
        "cluster.python: that python cannot run xray_hpc (ModuleNotFoundError: No module named "
        "'xray_hpc'); install it there (pip install -e .), or name another"
    )


def test_one_that_is_not_there_is_refused(check: Check) -> None:
    with pytest.raises(UserError, match=r"cannot run xray_hpc .*No such file or directory"):
        check(python="/opt/nowhere/bin/python")


def test_lines_of_setup_come_before_it(check: Check, tmp_path: Path) -> None:
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "python3").symlink_to("/bin/false")
    line = f"export PATH={tmp_path}/my:$PATH"
    with pytest.raises(UserError, match=r"^cluster.setup and cluster.python: that python"):
        check(python="python3", setup=(line,))


def test_a_container_runs_it(check: Check, site: Any) -> None:
    site.act("apptainer", "exec my.sif python -c *import xray_hpc", "exit 0")
    site.act("apptainer", "exec other.sif *", "echo FATAL: could not open image >&2; exit 255")
    assert check(container="apptainer exec my.sif") == []
    with pytest.raises(UserError, match=r"^cluster.container: .* \(FATAL: could not open image\)"):
        check(container="apptainer exec other.sif")


def test_a_container_program_that_only_the_nodes_have_is_a_note(check: Check) -> None:
    assert check(container="A=1 nowhere-tainer exec x.sif") == [
        "cluster.container: there is no nowhere-tainer on this machine; could not try it"
    ]


def test_a_setup_that_takes_long_is_given_up(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xray_hpc.launching.job_python.PATIENCE_SECONDS", 0.2)
    assert check(setup=("sleep 600",)) == [
        "cluster.setup: python is not there after 0.2 s; could not try it"
    ]


@pytest.mark.parametrize(
    "variable", ["$SLURM_TMPDIR", "${SLURM_JOB_ID:?}", "$CUDA_VISIBLE_DEVICES"]
)
def test_a_setup_that_only_a_job_can_run_is_not_tried(
    check: Check, tmp_path: Path, variable: str
) -> None:
    name = variable.strip("${}:?")
    assert check(setup=(f"touch {tmp_path}/made", f"cd {variable}")) == [
        f"cluster.setup uses ${name}, which only a job has; could not try python"
    ]
    assert not (tmp_path / "made").exists()


def test_a_dry_run_runs_nothing_of_setup(composer: Any, site: Any, tmp_path: Path) -> None:
    plan = composer.plan([])
    cluster = ClusterConfig("slurm", cpu_job=SMALL, setup=(f"touch {tmp_path}/made",))
    settings = dataclasses.replace(plan.settings, cluster=cluster, dry_run=True)
    checks.check(dataclasses.replace(plan, settings=settings), 1)
    assert not (tmp_path / "made").exists()


# sbatch --test-only


def test_a_script_that_sbatch_would_take_passes(site: Any) -> None:
    checks.test_only("#!/bin/bash\ntrue\n")


def test_sbatch_reads_the_script(site: Any, tmp_path: Path) -> None:
    site.act("sbatch", "--test-only", f"cat > {tmp_path}/script")
    checks.test_only("#!/bin/bash\ntrue\n")
    assert (tmp_path / "script").read_text() == "#!/bin/bash\ntrue\n"


def test_what_it_says_against_one_is_one_line(site: Any) -> None:
    said = (
        "sbatch: error: AssocGrpSubmitJobsLimit\n"
        "allocation failure: Job violates accounting/QOS policy (job submit limit, user's size "
        "and/or time limits)\n"
    )
    site.answer("sbatch", "--test-only", said, code=1)
    with pytest.raises(UserError) as refused:
        checks.test_only("#!/bin/bash\n")
    assert str(refused.value) == (
        "sbatch refuses the job: AssocGrpSubmitJobsLimit; Job violates accounting/QOS policy "
        "(job submit limit, user's size and/or time limits)"
    )


def test_a_controller_that_does_not_answer_sbatch_is_said(site: Any) -> None:
    said = "allocation failure: Unable to contact slurm controller (connect failure)\n"
    site.answer("sbatch", "--test-only", said, code=1)
    with pytest.raises(UserError, match=r"^Slurm does not answer \(Unable .*\); try again later$"):
        checks.test_only("#!/bin/bash\n")
