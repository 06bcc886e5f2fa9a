from __future__ import annotations

import pytest

from tests.run_folders import Programs
from xray_hpc.errors import (
    JobPendingError,
    NoClusterError,
    NodeUnavailableError,
    SlurmError,
    SlurmUnavailableError,
    SubmitLimitError,
)
from xray_hpc.slurm.client import classify, is_available, parse_job_id, run_command
from xray_hpc.slurm.environment import submission_environment


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        ("Unable to contact slurm controller (connect failure)", SlurmUnavailableError),
        ("slurm_load_jobs error: Socket timed out on send/recv operation", SlurmUnavailableError),
        ("Transport endpoint is not connected", SlurmUnavailableError),
        ("Communication connection failure", SlurmUnavailableError),
        ("scontrol: fatal: Could not establish a configuration source", NoClusterError),
        ("Job/step already completing or completed", SlurmError),
        ("Job is pending execution for job 3", JobPendingError),
        (
            "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: "
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            SubmitLimitError,
        ),
        ("allocation failure: Requested node configuration is not available", NodeUnavailableError),
        (
            "allocation failure: Requested node configuration is not available\nAsk the help desk.",
            NodeUnavailableError,
        ),
        (
            "sbatch: error: Batch job submission failed: "
            "Requested node configuration is not available",
            SlurmError,
        ),
        ("", SlurmError),
    ],
)
def test_classify_maps_the_error_output_to_a_class(stderr: str, kind: type[SlurmError]) -> None:
    assert type(classify(stderr, "sbatch")) is kind


def test_classify_removes_prefixes_and_repeated_lines() -> None:
    error = classify("sbatch: error: no\nsbatch: error: no\nallocation failure: why\n", "sbatch")
    assert str(error) == "no; why"


def test_run_command_without_slurm_reports_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoClusterError):
        run_command(["sbatch"])


def test_is_available_without_sinfo_is_an_error(programs: Programs) -> None:
    programs.say("sbatch")
    with pytest.raises(SlurmUnavailableError, match="cluster=local"):
        is_available()


def test_run_command_replaces_invalid_utf8(programs: Programs) -> None:
    programs.say("squeue", before=r"printf 'gru\xdfe\n'")
    assert run_command(["squeue"]) == "gru\ufffde\n"


def test_run_command_passes_stdin(programs: Programs) -> None:
    programs.say("sbatch", before="read line; echo $line")
    assert run_command(["sbatch"], stdin="#!/bin/sh\n") == "#!/bin/sh\n"


def test_run_command_hides_variables_that_change_the_output(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"SLURM_CONF": "/etc/slurm.conf", "SLURM_JWT": "token", "MY_SLURM_NOTE": "mine"}
    formats = ("SQUEUE_FORMAT", "SACCT_FORMAT", "SINFO_FORMAT", "SLURM_TIME_FORMAT", "SBATCH_QOS")
    for name in (*kept, *formats):
        monkeypatch.setenv(name, kept.get(name, "%i"))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    programs.say("squeue", before="/usr/bin/env")
    shown = dict(line.partition("=")[::2] for line in run_command(["squeue"]).splitlines())
    assert {name: shown.get(name) for name in kept} == kept
    assert shown["LC_ALL"] == "C"
    assert not set(formats) & shown.keys()


def test_submission_environment_keeps_what_the_script_does_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"SBATCH_WCKEY": "k", "SBATCH_RESERVATION": "r", "SBATCH_SIGNAL": "INT", "LC_ALL": "C"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    environment = submission_environment("#!/bin/bash\n#SBATCH --reservation=mine\n")
    assert {name: environment.get(name) for name in given} == {
        "SBATCH_WCKEY": "k",
        "SBATCH_RESERVATION": None,
        "SBATCH_SIGNAL": None,
        "LC_ALL": "C",
    }


@pytest.mark.parametrize(
    ("output", "job"),
    [
        ("17\n", "17"),
        ("17;alpha\n", "17"),
        ("Submitted batch job 17\n", "17"),
        ("Submitted batch job 17 on cluster alpha\n", "17"),
        ("\x1b[32mSubmitted batch job 17\x1b[0m\n17\n", "17"),
        ("You have 400 hours left.\n17\nCosts: 3 EUR\n", "17"),
        ("400\nSubmitted batch job 17\n", None),
        ("You have 400 hours left.\n", None),
        ("", None),
    ],
)
def test_parse_job_id_ignores_other_lines(output: str, job: str | None) -> None:
    assert parse_job_id(output) == job
