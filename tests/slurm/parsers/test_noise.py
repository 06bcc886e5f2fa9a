"""Every parser ignores lines that Slurm's programs do not print, and survives truncated output.

Such lines come from a site's wrappers and plugins, and from notices on maintenance.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_slurm import RECORDED
from tests.worker.test_slurm_job import ENVIRONMENT, JOB_7_3
from xray_hpc.errors import UserError
from xray_hpc.launching.preflight import submit_limits
from xray_hpc.launching.preflight.submit_limits import _Ceiling, _jobs_left
from xray_hpc.records.run_record import user_name
from xray_hpc.slurm import client, sacct, sacctmgr, scontrol
from xray_hpc.slurm.sacctmgr import read_accounting
from xray_hpc.worker import slurm_job
from xray_hpc.worker.slurm_job import SlurmJob, current_job, kill_wait


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text().replace("{user}", user_name())


QUEUE = """\
17_0|RUNNING|None|node1|1:00|/results/slurm/s17/job.sh
17_1|PENDING|Resources||4:00:00|/results/slurm/s|17/job.sh
18|PENDING|Dependency||1:00:00|/home/me/my job.sh
"""
SACCT = "17_0|COMPLETED\n17_1|CANCELLED by 1000\n17_1.batch|CANCELLED\n"
ACCOUNTING = {"AccountingStorageType": "accounting_storage/slurmdbd", "ClusterName": "lungs"}
SACCTMGR = {
    "parentname": "accounts",
    "defaultqos": "associations",
    "maxwall": "qos",
    "defaultaccount": "default_account",
}


def accounting_file(command: list[str]) -> str:
    return next(file for word, file in SACCTMGR.items() if word in command[-1])


def main_jobs_left() -> int:
    return _jobs_left([_Ceiling(100, {"account": {"lab"}, "partition": {"main"}})])


@dataclass(frozen=True)
class Reader:
    """A function that reads a program's output, and such an output."""

    read: Callable[[], Any]
    output: Callable[[list[str]], str]


READERS = {
    "settings": Reader(scontrol.settings, lambda _: recorded("config")),
    "partitions": Reader(scontrol.partitions, lambda _: recorded("partitions")),
    "nodes": Reader(scontrol.nodes, lambda _: recorded("nodes")),
    "accounting": Reader(
        lambda: read_accounting(ACCOUNTING), lambda command: recorded(accounting_file(command))
    ),
    "queued_jobs": Reader(client.queued_jobs, lambda _: QUEUE),
    "jobs_left": Reader(main_jobs_left, lambda _: recorded("queue")),
    "final_states": Reader(lambda: sacct.final_states(["17_0", "17_1"]), lambda _: SACCT),
    "current_job": Reader(lambda: current_job(ENVIRONMENT), lambda _: JOB_7_3),
    "job_state": Reader(lambda: SlurmJob("7_3", "node1").state(), lambda _: JOB_7_3),
    "node_is_down": Reader(lambda: SlurmJob("7", "n")._node_is_down(), lambda _: "down*\n"),
    "largest_memory": Reader(
        lambda: SlurmJob("7", "n").largest_memory(), lambda _: recorded("nodes")
    ),
    "kill_wait": Reader(kill_wait, lambda _: "KillWait                = 20 sec\n"),
}
NOISE = st.one_of(
    st.sampled_from(
        [
            *("", "   ", "=", "=====", "|", "||", "|||||", "a|b", "a=b", "\ufffd", "[1/3]"),
            "Warning: maintenance on Monday, State=DOWN for all",
            "slurm_load_jobs error: Invalid job id specified",
            "NodeName=",
            "PartitionName=",
            "JobId=7",
            "*** node5 is down ***",
            "Last login: Mon Nov 30 16:00 | from 10.0.0.1 | 3 | 4 | 5",
        ]
    ),
    # A line of random text is a record of Slurm's only with its separators.
    st.text(st.characters(exclude_characters="\n\r|=", exclude_categories=("Cs", "Zl", "Zp"))),
)


def answer(patch: pytest.MonkeyPatch, output: Callable[[list[str]], str]) -> None:
    """Let every module that calls Slurm's programs read this output."""

    def run(command: list[str], **_: Any) -> str:
        return output(command)

    for module in (client, sacct, sacctmgr, slurm_job):
        patch.setattr(module, "run_command", run)
    for module in (scontrol, submit_limits):
        patch.setattr(module, "query", run)


@pytest.mark.parametrize("name", READERS)
@given(noise=st.lists(st.tuples(st.integers(0, 20), NOISE), max_size=8))
def test_reader_ignores_unknown_lines(name: str, noise: list[tuple[int, str]]) -> None:
    reader = READERS[name]

    def noisy(command: list[str]) -> str:
        lines = reader.output(command).splitlines()
        for position, line in noise:
            lines.insert(position, line)
        return "".join(f"{line}\n" for line in lines)

    with pytest.MonkeyPatch.context() as patch:
        answer(patch, reader.output)
        expected = reader.read()
        answer(patch, noisy)
        found = reader.read()
    if name == "settings":  # a line with an equals sign is a setting, of whatever name
        found = {key: found.get(key) for key in expected}
    assert found == expected
    assert expected


@pytest.mark.parametrize("name", READERS)
@given(share=st.floats(0, 1))
def test_reader_survives_truncated_output(name: str, share: float) -> None:
    reader = READERS[name]

    def truncated(command: list[str]) -> str:
        text = reader.output(command)
        return text[: round(share * len(text))]

    with pytest.MonkeyPatch.context() as patch:
        answer(patch, truncated)
        with contextlib.suppress(UserError):
            reader.read()
