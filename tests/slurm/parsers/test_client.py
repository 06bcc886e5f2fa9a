from __future__ import annotations

import pytest

from tests.run_folders import Programs
from xray_hpc.slurm.client import SlurmError, ask, no_answer


@pytest.mark.parametrize(
    "said",
    [
        "Unable to contact slurm controller (connect failure)",
        "slurm_load_jobs error: Socket timed out on send/recv operation",
        "Command '['scontrol']' timed out after 60 seconds",
    ],
)
def test_a_controller_that_does_not_answer_may_be_asked_again(said: str) -> None:
    assert no_answer(SlurmError(said))


def test_a_refusal_is_an_answer() -> None:
    assert not no_answer(SlurmError("Job/step already completing or completed"))


def test_a_program_that_is_not_there_is_no_silent_controller() -> None:
    with pytest.raises(SlurmError) as error:
        ask(["no-such-program"])
    assert not no_answer(error.value)


def test_a_byte_that_is_no_utf8_in_somebodys_comment_is_no_failure(programs: Programs) -> None:
    programs.say("squeue", before=r"printf 'gru\xdfe\n'")
    assert ask(["squeue"]) == "gru\ufffde\n"


def test_a_command_can_be_given_what_it_reads(programs: Programs) -> None:
    programs.say("sbatch", before="read line; echo $line")
    assert ask(["sbatch"], stdin="#!/bin/sh\n") == "#!/bin/sh\n"
