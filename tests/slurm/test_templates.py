"""The files of slurm_templates/, executed by a real sbatch and srun.

A fake Python records its arguments, so that these tests need no training.
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

FAKE_PYTHON = """\
#!/bin/bash
# Execute Python code (-c); record the arguments of any other call.
if [ "$1" = -c ]; then PYTHONPATH={repository} exec {python} "$@"; fi
record={calls}/${{SLURM_ARRAY_TASK_ID:-0}}
{{ pwd; echo "$CUDA_VISIBLE_DEVICES"; echo "$SLURM_CPUS_PER_TASK"; printf '%s\\n' "$@"; }} > $record
exit ${{FAKE_EXIT:-0}}
"""


@dataclass(frozen=True)
class Call:
    """One call of the fake Python."""

    folder: str
    gpus: str
    cpus: str
    arguments: list[str]


@dataclass(frozen=True)
class Python:
    """The fake Python, and the folder of its records."""

    program: Path
    calls: Path

    def call(self, task: int = 0) -> Call:
        folder, gpus, cpus, *arguments = (self.calls / str(task)).read_text().splitlines()
        return Call(folder, gpus, cpus, arguments)


@pytest.fixture
def python(shared_folder: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Python:
    for name in ("VIRTUAL_ENV", "FAKE_EXIT"):
        monkeypatch.delenv(name, raising=False)
    fake = Python(shared_folder / "python", shared_folder / "calls")
    fake.calls.mkdir()
    text = FAKE_PYTHON.format(repository=REPOSITORY, python=sys.executable, calls=fake.calls)
    fake.program.write_text(text)
    fake.program.chmod(0o755)
    monkeypatch.setenv("XRAY_HPC_PYTHON", str(fake.program))
    return fake


@pytest.fixture
def work_folder(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's working folder, outside the repository."""
    folder = shared_folder / "work folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def options(slurm: Slurm) -> list[str]:
    """Options that fit any site's default partition; none on a throw-away cluster."""
    return (
        [] if slurm.is_throwaway else ["--gres=none", "--mem=1G", "--time=5", "--cpus-per-task=1"]
    )


def make_sweep(work_folder: Path, *runs: str) -> Path:
    sweep = work_folder / "results" / "lr depth"
    for run in runs:
        (sweep / "runs" / run).mkdir(parents=True)
    return sweep.relative_to(work_folder)


def log(work_folder: Path, name: str) -> str:
    return (work_folder / name).read_text()


def test_train_passes_all_arguments(
    slurm: Slurm, python: Python, work_folder: Path, options: list[str]
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
    assert call.folder == str(work_folder)
    assert (work_folder / f"xray-train-{job}.log").exists()


def test_train_gets_the_requested_gpus_and_cpus(
    slurm: Slurm, python: Python, work_folder: Path
) -> None:
    if not slurm.is_throwaway:
        pytest.skip("a site's cluster may have no GPUs")
    slurm.wait(slurm.submit(TRAIN))
    assert (python.call().gpus, python.call().cpus) == ("0", "4")
    slurm.wait(slurm.submit("--gres=gpu:2", "--cpus-per-task=2", TRAIN))
    assert (python.call().gpus, python.call().cpus) == ("0,1", "2")


def test_train_exits_with_the_code_of_the_training(
    slurm: Slurm,
    python: Python,
    work_folder: Path,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_EXIT", "7")
    job = slurm.submit(*options, TRAIN)
    assert slurm.wait(job) == {job: "FAILED"}
    assert slurm.job(job)["ExitCode"] == "7:0"


def test_train_prefers_the_active_venv_to_that_of_the_folder(
    slurm: Slurm,
    python: Python,
    work_folder: Path,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XRAY_HPC_PYTHON")
    own = work_folder / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    shutil.copy(python.program, own)
    slurm.wait(slurm.submit(*options, TRAIN, "model=cnn"))
    assert python.call().arguments == ["-m", "xray_hpc.train", "model=cnn"]

    active = work_folder / "active" / "bin" / "python"
    active.parent.mkdir(parents=True)
    active.write_text(f"#!/bin/sh\ntouch '{work_folder}/active ran'\n")
    active.chmod(0o755)
    monkeypatch.setenv("VIRTUAL_ENV", str(active.parents[1]))
    job = slurm.submit(*options, TRAIN)
    assert slurm.wait(job) == {job: "COMPLETED"}
    assert (work_folder / "active ran").exists()


def test_sweep_runs_each_run_folder_once(
    slurm: Slurm, python: Python, work_folder: Path, options: list[str]
) -> None:
    sweep = make_sweep(work_folder, "cnn-0a", "ft-1b", "tl-2c")
    job = slurm.submit(*options, "--array=0-2", SWEEP, sweep)
    assert slurm.wait(job) == {f"{job}_{index}": "COMPLETED" for index in range(3)}
    jobs = str(REPOSITORY / "jobs" / "run.py")
    assert [python.call(index).arguments for index in range(3)] == [
        [jobs, f"{sweep}/runs/cnn-0a"],
        [jobs, f"{sweep}/runs/ft-1b"],
        [jobs, f"{sweep}/runs/tl-2c"],
    ]
    assert "task 1 of 3" in log(work_folder, f"xray-sweep-{job}_1.log")


def test_sweep_refuses_an_index_without_a_run(
    slurm: Slurm, python: Python, work_folder: Path, options: list[str]
) -> None:
    sweep = make_sweep(work_folder, "cnn-0a", "ft-1b")
    job = slurm.submit(*options, "--array=1-2", SWEEP, sweep)
    assert slurm.wait(job) == {f"{job}_1": "COMPLETED", f"{job}_2": "FAILED"}
    assert "submit with --array=0-1" in log(work_folder, f"xray-sweep-{job}_2.log")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no sweep given"),
        (("results/typo",), "no folder results/typo/runs in {work_folder}"),
        (("results/lr depth",), "submit it with --array=0-N"),
    ],
)
def test_sweep_refuses_wrong_arguments(
    slurm: Slurm,
    python: Python,
    work_folder: Path,
    options: list[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    make_sweep(work_folder, "cnn-0a")
    job = slurm.submit(*options, f"--output={work_folder}/log", SWEEP, *arguments)
    assert slurm.wait(job) == {job: "FAILED"}
    assert message.format(work_folder=work_folder) in log(work_folder, "log")
    assert slurm.job(job)["ExitCode"] == "2:0"


def test_collect_refuses_a_python_without_the_package(
    slurm: Slurm, python: Python, work_folder: Path, options: list[str]
) -> None:
    sweep = make_sweep(work_folder, "cnn-0a")
    python.program.write_text("#!/bin/sh\nexit 1\n")
    job = slurm.submit(*options, f"--output={work_folder}/log", COLLECT, sweep)
    assert slurm.wait(job) == {job: "FAILED"}
    assert f"error: {python.program} cannot import xray_hpc" in log(work_folder, "log")


def test_collect_runs_after_a_failed_sweep(
    slurm: Slurm,
    python: Python,
    work_folder: Path,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweep = make_sweep(work_folder, "cnn-0a")
    with monkeypatch.context() as failing:
        failing.setenv("FAKE_EXIT", "1")
        array = slurm.submit(*options, "--array=0-0", SWEEP, sweep)
    after = f"--dependency=afterany:{array}"
    job = slurm.submit(*(options or ["--mem=1G"]), after, COLLECT, sweep)
    assert slurm.wait(array) == {f"{array}_0": "FAILED"}
    assert slurm.wait(job) == {job: "COMPLETED"}
    assert python.call().arguments == [str(REPOSITORY / "jobs" / "collect.py"), str(sweep)]


def test_interactive_runs_a_command_on_a_node_in_this_folder(
    slurm: Slurm, work_folder: Path, options: list[str]
) -> None:
    show = 'echo "$PWD $SLURM_CPUS_PER_TASK $SLURM_JOB_ID"'
    done = slurm.run(INTERACTIVE, *options, "--cpus-per-task=1", "bash", "-c", show)
    folder, _, rest = done.stdout.rpartition(" 1 ")
    assert folder == str(work_folder)
    assert rest.strip().isdigit()


def test_interactive_reads_its_resources_from_the_environment(
    slurm: Slurm, work_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not slurm.is_throwaway:
        pytest.skip("a site's cluster may have no GPUs")
    for name, value in {"GPUS": "2", "CPUS": "3", "MEM": "2G", "TIME": "0:07:00"}.items():
        monkeypatch.setenv(f"XRAY_HPC_{name}", value)
    show = 'echo "$CUDA_VISIBLE_DEVICES $(squeue -h -j $SLURM_JOB_ID -o "%C %m %l %j")"'
    done = slurm.run(INTERACTIVE, "--", "bash", "-c", show)
    assert done.stdout == "0,1 3 2G 7:00 xray-interactive\n"


def test_interactive_returns_the_commands_exit_code(
    slurm: Slurm, work_folder: Path, options: list[str]
) -> None:
    done = slurm.run(INTERACTIVE, *options, "bash", "-c", "exit 5", check=False)
    assert done.returncode == 5


def test_interactive_opens_a_login_shell_on_a_terminal(
    slurm: Slurm, work_folder: Path, options: list[str]
) -> None:
    if shutil.which("script") is None:
        pytest.skip("needs the command `script`")
    commands = "tty >/dev/null && shopt -q login_shell && echo job:$SLURM_JOB_ID: >seen; exit\n"
    line = " ".join([f"'{INTERACTIVE}'", *options])
    slurm.run("script", "-qec", line, "/dev/null", input=commands)
    seen = (work_folder / "seen").read_text()
    assert seen.startswith("job:")
    assert seen != "job::\n"


def test_interactive_refuses_to_run_inside_a_job(
    slurm: Slurm, work_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    done = slurm.run(INTERACTIVE, check=False)
    assert done.returncode == 2
    assert "job 12" in done.stderr


def test_interactive_is_executable() -> None:
    assert os.access(INTERACTIVE, os.X_OK)
