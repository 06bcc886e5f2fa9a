"""Commands of Slurm's that are absent, slow or failing."""

from __future__ import annotations

import sys

from tests.faults.doing import fault
from tests.faults.of_runs import training_killed
from tests.faults.sweeps import FaultError, Sweep
from xray_hpc.records.run_record import Failure


@fault(
    how="`sacct` is absent; a training is killed and the sweep launched again meanwhile",
    failures=(Failure.KILLED,),
)
def sacct_absent(sweep: Sweep) -> None:
    ask_beside(sweep, 'echo "sacct: not found" >&2; exit 127')


@fault(how="`sacct` takes 10 s and fails; as above", failures=(Failure.KILLED,))
def sacct_slow(sweep: Sweep) -> None:
    ask_beside(sweep, "sleep 10; exit 1")


@fault(how="`sacct` fails at once; as above", failures=(Failure.KILLED,))
def sacct_fails(sweep: Sweep) -> None:
    ask_beside(sweep, 'echo "Slurm accounting storage is disabled" >&2; exit 1')


def ask_beside(sweep: Sweep, script: str) -> None:
    """Put up with a broken sacct while a training is killed, shown and launched again."""
    sweep.program("sacct", script)
    training_killed.do(sweep)
    status(sweep)
    sweep.launch()


@fault(how="`squeue` fails for a while: a launch and a status are tried then, and again after it")
def squeue_fails(sweep: Sweep) -> None:
    sweep.train()
    flag = sweep.folder / "away"
    real = sweep.slurm.run("sh", "-c", "command -v squeue").stdout.strip()
    said = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    sweep.program("squeue", f'[ -e {flag} ] && echo "{said}" >&2 && exit 1\nexec {real} "$@"')
    flag.touch()
    refused = sweep.call(*sweep.command())
    if refused.returncode != 2 or not refused.stderr.startswith("error: Slurm does not answer"):
        raise FaultError(f"launch without a queue -> {refused.returncode}: {refused.stderr}")
    status(sweep)
    flag.unlink()
    status(sweep)
    sweep.launch()


def status(sweep: Sweep) -> str:
    done = sweep.call(sys.executable, "-m", "xray_hpc.status", str(sweep.paths.folder))
    if done.returncode != 0 or "Traceback" in done.stderr:
        raise FaultError(f"status -> {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
