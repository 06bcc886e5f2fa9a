"""The files of slurm_templates/, run by a real sbatch and srun.

A stand-in for Python records what it was called with, so that these tests take no training.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slurm.client import Slurm

REPOSITORY = Path(__file__).parents[2]
TEMPLATES = REPOSITORY / "slurm_templates"
TRAIN, SWEEP, COLLECT = (TEMPLATES / f"{name}.sbatch" for name in ("train", "sweep", "collect"))
INTERACTIVE = TEMPLATES / "interactive.sh"

STAND_IN = """\
#!/bin/bash
# Python code (-c) is run; of anything else a record is made, in one step.
if [ "$1" = -c ]; then PYTHONPATH={repository} exec {python} "$@"; fi
record={calls}/${{SLURM_ARRAY_TASK_ID:-0}}
{{ pwd; echo "$CUDA_VISIBLE_DEVICES"; echo "$SLURM_CPUS_PER_TASK"; printf '%s\\n' "$@"; }} > $record
exit ${{STAND_IN_EXIT:-0}}
"""


@dataclass(frozen=True)
class Call:
    """What the stand-in saw."""

    folder: str
    gpus: str
    cpus: str
    arguments: list[str]


@dataclass(frozen=True)
class Python:
    """The stand-in ``program``, and the folder that its records go to."""

    program: Path
    calls: Path

    def call(self, task: int = 0) -> Call:
        folder, gpus, cpus, *arguments = (self.calls / str(task)).read_text().splitlines()
        return Call(folder, gpus, cpus, arguments)


@pytest.fixture
def python(shared: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Python:
    for name in ("VIRTUAL_ENV", "STAND_IN_EXIT"):
        monkeypatch.delenv(name, raising=False)
    made = Python(shared / "python", shared / "calls")
    made.calls.mkdir()
    text = STAND_IN.format(repository=REPOSITORY, python=sys.executable, calls=made.calls)
    made.program.write_text(text)
    made.program.chmod(0o755)
    monkeypatch.setenv("XRAY_HPC_PYTHON", str(made.program))
    return made


@pytest.fixture
def here(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder, away from the clone, from which things are submitted."""
    folder = shared / "work folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def options(slurm: Slurm) -> list[str]:
    """None on our own cluster; what any site's default partition can give elsewhere."""
    return [] if slurm.own else ["--gres=none", "--mem=1G", "--time=5", "--cpus-per-task=1"]


def make_sweep(here: Path, *runs: str) -> Path:
    sweep = here / "results" / "lr depth"
    for run in runs:
        (sweep / "runs" / run).mkdir(parents=True)
    return sweep.relative_to(here)


def log(here: Path, name: str) -> str:
    return (here / name).read_text()


def test_train_passes_every_word_on(
    slurm: Slurm, python: Python, here: Path, options: list[str]
) -> None:
    job = slurm.submit(*options, TRAIN, "model=ft", "train.learning_rate=1e-5", "data.root=a b$(c)")
    assert slurm.wait(job) == {job: "COMPLETED"}
    call = python.call()
    assert call.arguments == [
        "-m",
        "xray_hpc.train",
        "model=ft",
        "train.learning_rate=1e-5",
        "data.root=a b$(c)",
    ]
    assert call.folder == str(here)
    assert (here / f"xray-train-{job}.log").exists()


def test_train_gets_the_gpus_and_cpus_asked_for(slurm: Slurm, python: Python, here: Path) -> None:
    if not slurm.own:
        pytest.skip("a site's cluster may have no GPUs")
    slurm.wait(slurm.submit(TRAIN))
    assert (python.call().gpus, python.call().cpus) == ("0", "4")
    slurm.wait(slurm.submit("--gres=gpu:2", "--cpus-per-task=2", TRAIN))
    assert (python.call().gpus, python.call().cpus) == ("0,1", "2")


def test_a_failed_training_is_a_failed_job(
    slurm: Slurm, python: Python, here: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_EXIT", "7")
    job = slurm.submit(*options, TRAIN)
    assert slurm.wait(job) == {job: "FAILED"}
    assert slurm.job(job)["ExitCode"] == "7:0"


def test_python_is_that_of_the_active_venv_before_that_of_the_folder(
    slurm: Slurm, python: Python, here: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XRAY_HPC_PYTHON")
    own = here / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    shutil.copy(python.program, own)
    slurm.wait(slurm.submit(*options, TRAIN, "model=cnn"))
    assert python.call().arguments == ["-m", "xray_hpc.train", "model=cnn"]

    active = here / "active" / "bin" / "python"
    active.parent.mkdir(parents=True)
    active.write_text(f"#!/bin/sh\ntouch '{here}/active ran'\n")
    active.chmod(0o755)
    monkeypatch.setenv("VIRTUAL_ENV", str(active.parents[1]))
    job = slurm.submit(*options, TRAIN)
    assert slurm.wait(job) == {job: "COMPLETED"}
    assert (here / "active ran").exists()


def test_a_sweep_runs_each_of_its_run_folders_once(
    slurm: Slurm, python: Python, here: Path, options: list[str]
) -> None:
    sweep = make_sweep(here, "cnn-0a", "ft-1b", "tl-2c")
    job = slurm.submit(*options, "--array=0-2", SWEEP, sweep)
    assert slurm.wait(job) == {f"{job}_{index}": "COMPLETED" for index in range(3)}
    jobs = str(REPOSITORY / "jobs" / "run.py")
    assert [python.call(index).arguments for index in range(3)] == [
        [jobs, f"{sweep}/runs/cnn-0a"],
        [jobs, f"{sweep}/runs/ft-1b"],
        [jobs, f"{sweep}/runs/tl-2c"],
    ]
    assert "task 1 of 3" in log(here, f"xray-sweep-{job}_1.log")


def test_an_index_beyond_the_sweep_fails_and_says_the_right_one(
    slurm: Slurm, python: Python, here: Path, options: list[str]
) -> None:
    sweep = make_sweep(here, "cnn-0a", "ft-1b")
    job = slurm.submit(*options, "--array=1-2", SWEEP, sweep)
    assert slurm.wait(job) == {f"{job}_1": "COMPLETED", f"{job}_2": "FAILED"}
    assert "submit with --array=0-1" in log(here, f"xray-sweep-{job}_2.log")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no sweep given"),
        (("results/typo",), "no folder results/typo/runs in {here}"),
        (("results/lr depth",), "submit it with --array=0-N"),
    ],
)
def test_a_sweep_submitted_wrongly_says_how(
    slurm: Slurm,
    python: Python,
    here: Path,
    options: list[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    make_sweep(here, "cnn-0a")
    job = slurm.submit(*options, f"--output={here}/log", SWEEP, *arguments)
    assert slurm.wait(job) == {job: "FAILED"}
    assert message.format(here=here) in log(here, "log")
    assert slurm.job(job)["ExitCode"] == "2:0"


def test_a_python_without_the_package_is_named(
    slurm: Slurm, python: Python, here: Path, options: list[str]
) -> None:
    sweep = make_sweep(here, "cnn-0a")
    python.program.write_text("#!/bin/sh\nexit 1\n")
    job = slurm.submit(*options, f"--output={here}/log", COLLECT, sweep)
    assert slurm.wait(job) == {job: "FAILED"}
    assert f"error: {python.program} cannot import xray_hpc" in log(here, "log")


def test_collect_waits_for_a_sweep_that_fails(
    slurm: Slurm, python: Python, here: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(here, "cnn-0a")
    with monkeypatch.context() as failing:
        failing.setenv("STAND_IN_EXIT", "1")
        array = slurm.submit(*options, "--array=0-0", SWEEP, sweep)
    after = f"--dependency=afterany:{array}"
    job = slurm.submit(*(options or ["--mem=1G"]), after, COLLECT, sweep)
    assert slurm.wait(array) == {f"{array}_0": "FAILED"}
    assert slurm.wait(job) == {job: "COMPLETED"}
    assert python.call().arguments == [str(REPOSITORY / "jobs" / "collect.py"), str(sweep)]


def test_an_interactive_command_runs_on_a_node_in_this_folder(
    slurm: Slurm, here: Path, options: list[str]
) -> None:
    show = 'echo "$PWD $SLURM_CPUS_PER_TASK $SLURM_JOB_ID"'
    done = slurm.run(INTERACTIVE, *options, "--cpus-per-task=1", "bash", "-c", show)
    folder, _, rest = done.stdout.rpartition(" 1 ")
    assert folder == str(here)
    assert rest.strip().isdigit()


def test_what_an_interactive_session_asks_for_comes_from_the_environment(
    slurm: Slurm, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not slurm.own:
        pytest.skip("a site's cluster may have no GPUs")
    for name, value in {"GPUS": "2", "CPUS": "3", "MEM": "2G", "TIME": "0:07:00"}.items():
        monkeypatch.setenv(f"XRAY_HPC_{name}", value)
    show = 'echo "$CUDA_VISIBLE_DEVICES $(squeue -h -j $SLURM_JOB_ID -o "%C %m %l %j")"'
    done = slurm.run(INTERACTIVE, "--", "bash", "-c", show)
    assert done.stdout == "0,1 3 2G 7:00 xray-interactive\n"


def test_the_exit_code_of_an_interactive_command_comes_back(
    slurm: Slurm, here: Path, options: list[str]
) -> None:
    done = slurm.run(INTERACTIVE, *options, "bash", "-c", "exit 5", check=False)
    assert done.returncode == 5


def test_an_interactive_session_is_a_login_shell_on_a_terminal(
    slurm: Slurm, here: Path, options: list[str]
) -> None:
    if shutil.which("script") is None:
        pytest.skip("the command `script`, which makes a terminal, is not installed")
    words = "tty >/dev/null && shopt -q login_shell && echo job:$SLURM_JOB_ID: >seen; exit\n"
    line = " ".join([f"'{INTERACTIVE}'", *options])
    slurm.run("script", "-qec", line, "/dev/null", input=words)
    seen = (here / "seen").read_text()
    assert seen.startswith("job:")
    assert seen != "job::\n"


def test_no_session_is_opened_inside_a_job(
    slurm: Slurm, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    done = slurm.run(INTERACTIVE, check=False)
    assert done.returncode == 2
    assert "job 12" in done.stderr


def test_the_interactive_session_can_be_executed() -> None:
    assert os.access(INTERACTIVE, os.X_OK)
