from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xray_hpc.config.cluster_config import ClusterConfig, CpuJobConfig, FailureConfig
from xray_hpc.launching.batch_job import BatchJob
from xray_hpc.package_folders import resource
from xray_hpc.records import exit_codes
from xray_hpc.records.paths import EXIT_CODE, UNRECORDED_END, SweepPaths

GOLDEN = Path(__file__).parent / "golden"
SWEEP = SweepPaths(Path("/results/lr depth"))
PLAIN = ClusterConfig("slurm")
FULL = ClusterConfig(
    kind="slurm",
    parallel=4,
    partition="gpu",
    account="chest",
    qos="long",
    constraint="a100|h100",
    time="1-12:00:00",
    gpus=2,
    cpus=16,
    mem="64G",
    extra={"exclude": "node7", "gpus-per-node": "a100:2", "nice": 0, "hold": False},
    setup=("module load cuda", 'export NAME="a b"'),
    container="apptainer exec --nv 'my image.sif'",
    signal_time=300,
    cpu_job=CpuJobConfig(partition="cpu", time="00:20:00", cpus=1, mem=None),
)
NINE = tuple((f"ft-{number}",) for number in range(9))


@pytest.mark.parametrize(
    ("name", "job"),
    [
        ("runs_plain", BatchJob(SWEEP, "runs", PLAIN, tasks=NINE[:3])),
        ("run_alone", BatchJob(SWEEP, "runs", PLAIN, tasks=NINE[:1], after=("16",))),
        ("runs_full", BatchJob(SWEEP, "runs", FULL, tasks=NINE, after=("17", "18"), throttle=4)),
        (
            "runs_of_a_snapshot",
            BatchJob(
                SWEEP, "runs", PLAIN, tasks=NINE[:2], code=Path("/results/lr depth/code/1a2b")
            ),
        ),
        (
            "features",
            BatchJob(SWEEP, "features", PLAIN, arguments=("/results/lr depth/runs/ft-0",)),
        ),
        ("collect_full", BatchJob(SWEEP, "collect", FULL, arguments=("/results/lr depth",))),
    ],
)
def test_script_equals_the_recorded_one(name: str, job: BatchJob) -> None:
    text = job.script(Path("/results/lr depth/slurm/20261122-1200-runs-1a2b"))
    text = text.replace(sys.executable, "PYTHON").replace(str(resource("jobs")), "JOBS")
    assert text == (GOLDEN / f"{name}.sh").read_text()


def test_script_names_the_working_folder_and_python_as_the_shell_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "export1" / "bin").mkdir(parents=True)
    home = tmp_path / "home"
    home.symlink_to("export1")
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "executable", str(Path.cwd() / "bin" / "python"))
    job = BatchJob(SWEEP, "collect", PLAIN)
    monkeypatch.delenv("PWD", raising=False)
    assert "--chdir" not in job.script(tmp_path)
    monkeypatch.setenv("PWD", str(home))
    script = job.script(tmp_path)
    assert f"#SBATCH --chdir={home}\n" in script
    assert f"{home}/bin/python -u " in script
    assert "export1" not in script


@pytest.mark.parametrize(
    ("code", "starts", "requeued", "exit_code"),
    [(0, 0, [], "0\n"), (1, 0, [], "1\n"), (140, 3, ["requeue 17"], None), (140, 9, [], "140\n")],
    ids=["done", "failed", "out of time", "out of time too often"],
)
def test_script_requeues_a_features_job_at_its_time_limit(
    tmp_path: Path, code: int, starts: int, requeued: list[str], exit_code: str | None
) -> None:
    job = BatchJob(SWEEP, "features", PLAIN)
    ended, calls, _ = run_script(tmp_path, job, code, SLURM_RESTART_COUNT=f"{starts}")
    assert (ended, calls) == (code, ["srun", *requeued])
    file = tmp_path / EXIT_CODE
    assert (file.read_text() if file.exists() else None) == exit_code


def run_script(
    folder: Path, job: BatchJob, code: int, shown: str = "", **environment: str
) -> tuple[int, list[str], str]:
    """Run a script with a task that ends with ``code``, as job 17.

    Return the exit code, the calls of srun and scontrol, which shows ``shown``, and the output.
    """
    log = folder / "calls"
    for name, text in {
        "srun": f"echo srun >> {log}; exit {code}",
        "scontrol": f"""case "$*" in
            *show?job*) echo "{shown}" ;;
            show?hostnames*) echo "$3" | tr , '\\n' ;;
            *) echo "$@" >> {log} ;;
        esac""",
        "sinfo": "[ $4 = gpu ] && printf 'node1\\nnode2\\nnode1\\n'",
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    known = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "node2", "SLURM_JOB_PARTITION": "gpu"}
    script = folder / "slurm_script"  # the name of slurmd's copy
    script.write_text(job.script(folder))
    ended = subprocess.run(
        ["bash", script],
        env=path | known | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    calls = log.read_text().splitlines() if log.exists() else []
    return ended.returncode, calls, ended.stdout


@pytest.mark.parametrize(
    ("after", "starts", "shown", "calls"),
    [
        (127, 0, "JobState=RUNNING ExcNodeList=(null) A=b", ["node2"]),
        (255, 1, "JobState=RUNNING ExcNodeList=node[7-8] A=b", ["node2,node[7-8]"]),
        (127, 1, "JobState=RUNNING ExcNodeList=node1", []),
        (127, 2, "JobState=RUNNING ExcNodeList=(null)", []),
        (127, 0, "JobState=COMPLETING ExcNodeList=(null)", []),
        (127, 0, "", []),
        (0, 0, "JobState=RUNNING", []),
        (2, 0, "JobState=RUNNING", []),
    ],
    ids=["first", "second", "no other", "too often", "ending", "unknown", "recorded", "bad input"],
)
def test_script_requeues_a_job_whose_python_does_not_start_on_another_node(
    tmp_path: Path, after: int, starts: int, shown: str, calls: list[str]
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexit {after}\n")
    python.chmod(0o755)
    job = BatchJob(SWEEP, "runs", ClusterConfig("slurm", python=str(python)))
    start = {"SLURM_RESTART_COUNT": f"{starts}", "SLURM_ARRAY_TASK_ID": "3"}
    ended, requests, _ = run_script(tmp_path, job, 137, shown, **start)
    assert ended == 137
    updates = [f"update JobId=17 ExcNodeList={nodes}" for nodes in calls]
    assert requests == ["srun", *["requeue 17"] * len(calls), *updates]
    reason = tmp_path / f"{UNRECORDED_END}.3"
    assert reason.exists() is (after not in (0, 2))


def test_script_leaves_nodes_alone_if_the_policy_does(tmp_path: Path) -> None:
    policy = FailureConfig(node_failure="stop")
    cluster = ClusterConfig("slurm", python="/nonexistent", on_failure=policy)
    job = BatchJob(SWEEP, "runs", cluster)
    ended, calls, _ = run_script(tmp_path, job, 9, "JobState=RUNNING")
    assert (ended, calls) == (9, ["srun"])


AFTER = """\
#!/bin/sh
for word; do [ "$previous" != --setup-error ] || error=$word; previous=$word; done
echo "after $5 $6 $error"
"""


def run_setup(folder: Path, *lines: str, code: int = 0) -> tuple[int, bool, str]:
    """Run the script of a run with these lines of ``cluster.setup``.

    Return the exit code, whether the task was started, and the output.
    """
    (folder / "python").write_text(AFTER)
    (folder / "python").chmod(0o755)
    cluster = ClusterConfig("slurm", python=str(folder / "python"), setup=lines)
    ended, calls, output = run_script(folder, BatchJob(SWEEP, "runs", cluster), code)
    assert not list(folder.glob("setup-stderr*"))
    return ended, calls == ["srun"], output


@pytest.mark.parametrize(
    "lines",
    [
        ("A=1; cd /", 'test "$A$PWD" = 1/'),
        ("declare -A m=([x]=1)", "[ ${m[x]} = 1 ]"),
        ("module() { export LOADED=$1; }", "module cuda", "env | grep LOADED=cuda"),
        ("source {folder}/environment", 'test "$FROM_FILE" = yes'),
        ("if true\nthen export A=1\nfi # a comment", "test $A"),
        ("false || true", "! true || true", "[ -f /nowhere ] && false; true"),
        ("set -euo pipefail", "true"),
        ("# only a comment", ""),
        ("f() { false; true; }; f", "x=$(false; true)", "if false; then true; fi"),
    ],
)
def test_setup_runs_in_the_shell_of_the_script(tmp_path: Path, lines: tuple[str, ...]) -> None:
    (tmp_path / "environment").write_text("FROM_FILE=yes\nfalse\ntrue\n")
    done = run_setup(tmp_path, *(line.replace("{folder}", str(tmp_path)) for line in lines))
    assert done[:2] == (0, True), done[2]


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (("echo no cuda/99 >&2; false", "true"), "'echo no cuda/99 >&2; false' ended with exit "
         "code 1: no cuda/99"),
        (("true", "echo why >&2\n(exit 4)\necho no >&2"), "'echo why >&2 (exit 4) echo no >&2' "
         "ended with exit code 4: why"),
        (("true", "(exit 4)"), "'(exit 4)' ended with exit code 4"),
        (("set -e", "false"), "'false' ended with exit code 1"),
        (("echo why >&2; exit 3",), "'echo why >&2; exit 3' ended with exit code 3: why"),
        (("exit",), "'exit' ended with exit code 0"),
        (("true\nno-such-program",), "'true no-such-program' ended with exit code 127: "
         "no-such-program: command not found"),
        (("if true; then",), "'if true; then' ended with exit code "),
        (("set -u", "echo $UNSET"), "'echo $UNSET' ended with exit code "),
        (("source /nowhere",), "'source /nowhere' ended with exit code 1: "),
    ],
)  # fmt: skip
def test_setup_that_fails_ends_the_attempt(
    tmp_path: Path, lines: tuple[str, ...], error: str
) -> None:
    code, started, output = run_setup(tmp_path, *lines)
    assert (code, started) == (exit_codes.BAD_NODE, False)
    assert f"error: cluster.setup: {error}" in output
    assert f"after --after 75 cluster.setup: {error}" in output


def test_setup_that_fails_does_not_show_a_secret(tmp_path: Path) -> None:
    line = "export KEY='a b' && setenv X hunter2; false"
    output = run_setup(tmp_path, "true", line)[2]
    assert "cluster.setup: 'export KEY=<masked> && setenv X <masked>; false' ended" in output
    assert "a b" not in output


def test_setup_does_not_hide_how_the_task_ended(tmp_path: Path) -> None:
    lines = ("set -eu", "trap 'echo removed' EXIT", "echo shown; echo too >&2")
    code, started, output = run_setup(tmp_path, *lines, code=137)
    assert (code, started) == (137, True)
    assert output.split("\n") == ["shown", "too", "after --after 137 ", "removed", ""]
