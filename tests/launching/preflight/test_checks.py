from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Composer
from tests.fake_slurm import FakeSlurm
from tests.launching.preflight.conftest import SMALL, Check
from xray_hpc.config.cluster_config import ClusterConfig, CpuJobConfig
from xray_hpc.errors import ConfigError, SlurmError, SlurmUnavailableError, SubmitLimitError
from xray_hpc.launching.preflight import checks

URGENT = {"partition": "fast", "account": "lungs", "qos": "urgent", "time": 60}


def test_check_accepts_what_fits(check: Check) -> None:
    assert check() == []
    assert check(**URGENT, mem="4G") == []
    assert check(partition="big", account="lungs", constraint="a100&ib", mem="400G", cpus=64) == []


# Requests that the cluster refuses, with parts of the message: the key, and what would be valid.
REFUSED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"partition": "mian"}, ("cluster.partition 'mian' is unknown", "'main'?", "big, closed")),
    ({"cpu_job": CpuJobConfig(partition="shrt")}, ("cluster.cpu_job.partition 'shrt'", "'short'?")),
    ({"partition": "ended"}, ("partition 'ended'", "DRAIN")),
    ({"account": "lugns"}, ("cluster.account 'lugns' is unknown", "'lungs'?")),
    ({"account": "hearts"}, ("user {user}", "cluster.account 'hearts'", "lab, lungs, root")),
    ({"qos": "urgant"}, ("cluster.qos 'urgant' is unknown", "'urgent'?")),
    ({"qos": "urgent"}, ("cluster.qos 'urgent'", "account lab", "valid: normal, tiny")),
    ({"partition": "big", "account": "root"}, ("'big'", "cluster.account 'root'", "lungs")),
    ({"partition": "fast"}, ("'fast'", "cluster.qos 'normal'", "allowed: urgent")),
    ({"partition": "physicists", "gpus": 0}, ("'physicists'", "{user}'s groups", "daemon")),
    ({"partition": "short", "time": "2-00:00:00"}, ("cluster.time is 2880", "'short'", "2160")),
    ({**URGENT, "time": 121}, ("cluster.time is 121", "QOS 'urgent'", "120")),
    (
        {"cpu_job": CpuJobConfig(partition="short", time=9999)},
        ("cluster.cpu_job.time is 9999", "'short'", "2160"),
    ),
    ({"partition": "short", "gpus": 3}, ("cluster.gpus is 3", "'short'", "use 2 or fewer")),
    (
        {"extra": {"gpus-per-node": "a100:5"}},
        ("cluster.extra.gpus-per-node is 5", "'main'", "of type a100; use 4 or fewer"),
    ),
    (
        {"extra": {"gpus-per-node": "v10:1"}},
        ("cluster.extra.gpus-per-node", "'v10' is unknown", "'v100'?", "valid: a100, v100"),
    ),
    ({"constraint": "cpu"}, ("cluster.gpus is 1", "'main' with the features 'cpu'", "or 0")),
    ({"constraint": "a101"}, ("cluster.constraint", "'a101' is unknown", "'a100'?")),
    ({"constraint": "a100&cpu"}, ("cluster.constraint is 'a100&cpu'", "'main'")),
    ({"partition": "short", "mem": "50G"}, ("cluster.mem is 50G", "'short' with 1 GPU", "40000M")),
    (
        {"constraint": "drawn", "gpus": 2, "cpus": 9},
        ("cluster.cpus is 9", "'main' with the features 'drawn' with 2 GPUs", "use 8 or less"),
    ),
    ({**URGENT, "mem": "9G"}, ("cluster.mem is 9G", "'fast' with 1 GPU", "use 8000M or less")),
    (
        {"cpu_job": CpuJobConfig(partition="short", cpus=9)},
        ("cluster.cpu_job.cpus is 9", "'short'", "use 8 or less"),
    ),
]


@pytest.mark.parametrize(("keys", "parts"), REFUSED, ids=[str(keys) for keys, _ in REFUSED])
def test_check_refuses_what_cannot_run_and_names_what_can(
    check: Check, site: FakeSlurm, keys: dict[str, Any], parts: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as refused:
        check(**keys)
    missing = [part for part in parts if part.format(user=site.user) not in str(refused.value)]
    assert not missing, refused.value


def test_check_accepts_a_job_that_one_of_several_partitions_accepts(check: Check) -> None:
    assert check(partition="short,main", time="9-0") == []
    with pytest.raises(ConfigError, match="'nowhere' is unknown"):
        check(partition="main,nowhere")


def test_check_requires_a_partition_without_a_default_one(check: Check, site: FakeSlurm) -> None:
    none = site.recorded("partitions.txt").replace("Default=YES", "Default=NO")
    site.answer("scontrol", "*show partition", none)
    with pytest.raises(
        ConfigError, match=r"no default partition; set cluster.partition \(valid: b"
    ):
        check()


def test_check_accepts_any_account_without_accounting(check: Check, site: FakeSlurm) -> None:
    site.answer("sacctmgr", "*", "no", code=1)
    assert check(account="anybody", qos="any") == []


def test_check_accepts_any_account_that_slurm_does_not_enforce(
    check: Check, site: FakeSlurm
) -> None:
    config = site.recorded("config.txt").replace("associations,limits,qos", "none")
    site.answer("scontrol", "*show config", config)
    assert check(account="hearts") == []


def test_check_accepts_an_own_account_where_slurm_hides_the_others(
    check: Check, site: FakeSlurm
) -> None:
    site.answer("sacctmgr", "*parentname*", "")  # so with PrivateData=accounts,users
    assert check(account="lungs") == []
    with pytest.raises(ConfigError, match=r"'lugns' is unknown; did you mean 'lungs'\?"):
        check(account="lugns")


def test_check_notes_a_partition_that_is_down(check: Check) -> None:
    (note,) = check(partition="closed", cpu_job=CpuJobConfig(partition="main", mem="4G"))
    assert note.startswith("partition 'closed' is down now")


def test_check_notes_that_all_fitting_nodes_are_down(check: Check, site: FakeSlurm) -> None:
    site.answer("scontrol", "*show node", site.recorded("nodes_away.txt"))
    (note,) = check(gpus=1)
    assert "(node1, node2)" in note
    assert check(gpus=0) == []


def test_check_raises_while_slurm_does_not_answer(check: Check, site: FakeSlurm) -> None:
    site.answer("scontrol", "*", "Unable to contact slurm controller (connect failure)", code=1)
    with pytest.raises(SlurmUnavailableError):
        check()


def test_check_runs_no_setup_in_a_dry_run(
    composer: Composer, site: FakeSlurm, tmp_path: Path
) -> None:
    plan = composer.plan([])
    cluster = ClusterConfig("slurm", cpu_job=SMALL, setup=(f"touch {tmp_path}/made",))
    settings = dataclasses.replace(plan.settings, cluster=cluster, dry_run=True)
    checks.check_plan(dataclasses.replace(plan, settings=settings), 1)
    assert not (tmp_path / "made").exists()


def test_check_script_accepts_what_sbatch_accepts(site: FakeSlurm) -> None:
    checks.check_script("#!/bin/bash\ntrue\n")


def test_check_script_passes_the_script_to_sbatch(site: FakeSlurm, tmp_path: Path) -> None:
    site.act("sbatch", "--test-only", f"cat > {tmp_path}/script")
    checks.check_script("#!/bin/bash\ntrue\n")
    assert (tmp_path / "script").read_text() == "#!/bin/bash\ntrue\n"


def test_check_script_reports_a_refusal_in_one_line(site: FakeSlurm) -> None:
    stderr = (
        "sbatch: error: AssocGrpSubmitJobsLimit\n"
        "allocation failure: Job violates accounting/QOS policy (job submit limit, user's size "
        "and/or time limits)\n"
    )
    site.answer("sbatch", "--test-only", stderr, code=1)
    with pytest.raises(SubmitLimitError) as refused:
        checks.check_script("#!/bin/bash\n")
    assert "AssocGrpSubmitJobsLimit; Job violates accounting/QOS policy" in str(refused.value)


def test_check_script_lists_the_options_that_sbatch_may_mean(site: FakeSlurm) -> None:
    site.answer("sbatch", "*", "sbatch: error: Invalid node name specified\n", code=1)
    with pytest.raises(
        SlurmError, match=r"specified; check cluster\.extra=\{exclude: n7, nice: 5\}$"
    ):
        checks.check_script("#!/bin/bash\n", {"exclude": "n7", "nice": 5})


def test_check_script_raises_while_slurm_does_not_answer(site: FakeSlurm) -> None:
    stderr = "allocation failure: Unable to contact slurm controller (connect failure)\n"
    site.answer("sbatch", "--test-only", stderr, code=1)
    with pytest.raises(SlurmUnavailableError):
        checks.check_script("#!/bin/bash\n")
