"""Slurm commands that are absent, slow or failing."""

from __future__ import annotations

import sys

from tests.faults.fault import fault
from tests.faults.fault_sweep import FaultError, FaultSweep
from tests.faults.run_faults import training_killed
from xray_hpc.records.run_record import Failure


@fault(
    method="`sacct` is absent; a training is killed and the sweep launched again meanwhile",
    failures=(Failure.KILLED,),
)
def sacct_absent(sweep: FaultSweep) -> None:
    kill_and_relaunch(sweep, 'echo "sacct: not found" >&2; exit 127')


@fault(method="`sacct` takes 10 s and fails; as above", failures=(Failure.KILLED,))
def sacct_slow(sweep: FaultSweep) -> None:
    kill_and_relaunch(sweep, "sleep 10; exit 1")


@fault(method="`sacct` fails at once; as above", failures=(Failure.KILLED,))
def sacct_fails(sweep: FaultSweep) -> None:
    kill_and_relaunch(sweep, 'echo "Slurm accounting storage is disabled" >&2; exit 1')


def kill_and_relaunch(sweep: FaultSweep, sacct: str) -> None:
    """Kill the trainings, show the status and launch again, with this script as sacct."""
    sweep.replace_program("sacct", sacct)
    training_killed.inject(sweep)
    show_status(sweep)
    sweep.launch()


@fault(method="`squeue` fails during a launch and a status; both are repeated afterwards")
def squeue_fails(sweep: FaultSweep) -> None:
    sweep.launch_and_train()
    failing = sweep.folder / "squeue_fails"
    squeue = sweep.slurm.run("sh", "-c", "command -v squeue").stdout.strip()
    message = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    script = f'[ -e {failing} ] && echo "{message}" >&2 && exit 1\nexec {squeue} "$@"'
    sweep.replace_program("squeue", script)
    failing.touch()
    refused = sweep.run(*sweep.launch_command())
    if refused.returncode != 2 or "Slurm does not answer" not in refused.stderr:
        raise FaultError(f"launch without squeue -> {refused.returncode}: {refused.stderr}")
    show_status(sweep)
    failing.unlink()
    show_status(sweep)
    sweep.launch()


def show_status(sweep: FaultSweep) -> None:
    """Run the status command, which must not fail."""
    done = sweep.run(sys.executable, "-m", "xray_hpc.status", str(sweep.paths.folder))
    if done.returncode != 0 or "Traceback" in done.stderr:
        raise FaultError(f"status exited with {done.returncode}: {done.stdout}{done.stderr}")


@fault(
    method="every Slurm program prints a notice before and behind its output, sbatch no id at all; "
    "a training is killed",
    failures=(Failure.KILLED,),
)
def programs_print_notices(sweep: FaultSweep) -> None:
    for name in ("squeue", "scontrol", "sacct", "sinfo", "sbatch"):
        path = sweep.slurm.run("sh", "-c", f"command -v {name}").stdout.strip()
        hidden = "> /dev/null" if name == "sbatch" else ""
        notice = "echo 'Maintenance on Monday: State=DOWN | see the web page'"
        sweep.replace_program(
            name, f'{notice}; {path} "$@" {hidden}; code=$?; {notice}; exit $code'
        )
    training_killed.inject(sweep)
    show_status(sweep)


@fault(
    method="the user has SBATCH_NO_REQUEUE, SBATCH_TIMELIMIT, SBATCH_OUTPUT and SLURM_NTASKS set; "
    "a training is killed",
    failures=(Failure.KILLED,),
)
def variables_override_the_request(sweep: FaultSweep) -> None:
    sweep.environ |= {"SBATCH_NO_REQUEUE": "1", "SBATCH_TIMELIMIT": "1", "SLURM_NTASKS": "2"}
    sweep.environ["SBATCH_OUTPUT"] = "/dev/null"
    training_killed.inject(sweep)
