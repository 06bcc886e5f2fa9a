from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.fake_slurm import FakeSlurm
from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.errors import SlurmError, SlurmUnavailableError, SubmissionUnknownError
from xray_hpc.launching import submission
from xray_hpc.launching.batch_job import BatchJob
from xray_hpc.launching.slurm_backend import has_open_jobs
from xray_hpc.launching.submission import reconcile_submissions, submit_job, summarize
from xray_hpc.records import ledger
from xray_hpc.records.atomic_files import read_json
from xray_hpc.records.file_lock import file_lock
from xray_hpc.records.paths import SweepPaths

TASKS = (("ft-0",), ("ft-1",))


@pytest.fixture
def sweep(tmp_path: Path) -> SweepPaths:
    sweep = SweepPaths(tmp_path / "results" / "lr")
    sweep.folder.mkdir(parents=True)
    return sweep


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(submission, "GRACE_SECONDS", 0.0)


def submit_runs(sweep: SweepPaths) -> str:
    with file_lock(sweep.lock) as lock:
        return submit_job(BatchJob(sweep, "runs", ClusterConfig("slurm"), tasks=TASKS), lock)


def job_ids(sweep: SweepPaths) -> dict[str, str]:
    return {run: job.id for run, job in ledger.read(sweep).jobs().items()}


def test_submit_job_writes_the_ledger_before_and_after(sweep: SweepPaths, site: FakeSlurm) -> None:
    site.act("sbatch", "--parsable *", f"cp {sweep.ledger} {sweep.folder}/before; echo '17;here'")
    assert submit_runs(sweep) == "17"
    before = json.loads((sweep.folder / "before").read_text())
    assert (before["event"], before["tasks"]) == ("submitting", [["ft-0"], ["ft-1"]])
    assert job_ids(sweep) == {"ft-0": "17_0", "ft-1": "17_1"}


def test_submit_job_writes_the_runs_of_each_task_beside_the_script(
    sweep: SweepPaths, site: FakeSlurm
) -> None:
    site.answer("sbatch", "--parsable *", "17")
    submit_runs(sweep)
    (folder,) = sweep.slurm.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["job.sh", "tasks.json"]
    assert read_json(folder / "tasks.json")["tasks"] == [["ft-0"], ["ft-1"]]


@pytest.mark.parametrize(("line", "access"), [("true", 0o644), ("export KEY=hunter2", 0o600)])
def test_submit_job_lets_others_read_a_script_without_secrets(
    sweep: SweepPaths, site: FakeSlurm, line: str, access: int
) -> None:
    site.answer("sbatch", "--parsable *", "17")
    cluster = ClusterConfig("slurm", setup=(line,))
    with file_lock(sweep.lock) as lock:
        submit_job(BatchJob(sweep, "runs", cluster, tasks=TASKS), lock)
    (folder,) = sweep.slurm.iterdir()
    assert stat.S_IMODE((folder / "job.sh").stat().st_mode) == access
    assert line in (folder / "job.sh").read_text()
    assert "hunter2" not in (folder / "tasks.json").read_text()


def test_submit_job_records_a_refusal(sweep: SweepPaths, site: FakeSlurm) -> None:
    site.answer("sbatch", "--parsable *", "sbatch: error: no such qos", code=1)
    with pytest.raises(SlurmError, match="no such qos"):
        submit_runs(sweep)
    assert [event["event"] for event in ledger.events(sweep)] == ["submitting", "refused"]


@pytest.mark.parametrize("output", ["", "Submitted"])
def test_submit_job_leaves_the_entry_open_without_a_job_id(
    sweep: SweepPaths, site: FakeSlurm, output: str
) -> None:
    site.answer("sbatch", "--parsable *", output)
    site.answer("squeue", "*", "")
    with pytest.raises(SubmissionUnknownError):
        submit_runs(sweep)
    assert [event["event"] for event in ledger.events(sweep)] == ["submitting"]
    assert has_open_jobs(sweep)


@pytest.mark.parametrize(
    ("program", "stderr", "kind"),
    [
        ("squeue", "fatal: Could not establish a configuration source", SlurmUnavailableError),
        ("sbatch", "fatal: Could not establish a configuration source", SlurmUnavailableError),
        ("sbatch", "sbatch: error: no such qos", SubmissionUnknownError),
    ],
)
def test_submit_job_records_no_refusal_after_a_timeout(
    sweep: SweepPaths, site: FakeSlurm, program: str, stderr: str, kind: type[SlurmError]
) -> None:
    site.answer("squeue", "*", "")
    site.answer(program, "*", stderr, code=1)
    timeout = "echo 'Socket timed out on send/recv operation' >&2; exit 1"
    fail = f"echo '{stderr}' >&2; exit 1"
    marker = sweep.folder / "marker"
    site.act("sbatch", "--parsable *", f"if mkdir {marker}; then {timeout}; fi; {fail}")
    with pytest.raises(kind):
        submit_runs(sweep)
    assert [event["event"] for event in ledger.events(sweep)] == ["submitting"]


def test_submit_job_retries_while_slurm_does_not_answer(
    sweep: SweepPaths, site: FakeSlurm, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    fail = "echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1"
    site.act("sbatch", "--parsable *", f"if mkdir {marker} 2>/dev/null; then {fail}; fi; echo 18")
    site.answer("squeue", "*", "")
    assert submit_runs(sweep) == "18"


def test_submit_job_finds_a_job_that_was_accepted_without_an_answer(
    sweep: SweepPaths, site: FakeSlurm
) -> None:
    fail = "echo 'Socket timed out on send/recv operation' >&2; exit 1"
    site.act("sbatch", "--parsable *", f"echo $2 >> {sweep.folder}/scripts; {fail}")
    line = f'echo "19_0|PENDING|None||1:00|$(cat {sweep.folder}/scripts)"'
    site.act("squeue", "*--states=all", line)
    assert submit_runs(sweep) == "19"
    assert len((sweep.folder / "scripts").read_text().splitlines()) == 1


def test_submit_job_prefers_the_queue_to_numbers_among_other_lines(
    sweep: SweepPaths, site: FakeSlurm
) -> None:
    site.act("sbatch", "--parsable *", f"echo $2 > {sweep.folder}/script; echo credits:; echo 400")
    line = f'echo "19_0|PENDING|None||1:00|$(cat {sweep.folder}/script)"'
    site.act("squeue", "*--states=all", line)
    assert submit_runs(sweep) == "19"
    site.answer("squeue", "*", "", code=1)
    assert submit_runs(sweep) == "400"


def open_submission(sweep: SweepPaths) -> str:
    """Leave the ledger as a killed launch does; return the script that it gave to sbatch."""
    ledger.append(sweep, "submitting", submission="one", kind="runs", tasks=[["ft-0"], ["ft-1"]])
    return str(sweep.slurm / "one" / "job.sh")


def test_reconcile_submissions_adopts_the_job_of_a_killed_launch(
    sweep: SweepPaths, site: FakeSlurm
) -> None:
    script = open_submission(sweep)
    site.answer("squeue", "*", f"23_1|RUNNING|None|n1|1:00|{script}\n24|RUNNING|None|n1|1:00|x\n")
    assert reconcile_submissions(sweep) == {"one": "23"}
    assert job_ids(sweep) == {"ft-0": "23_0", "ft-1": "23_1"}


def test_reconcile_submissions_frees_runs_that_were_not_submitted(
    sweep: SweepPaths, site: FakeSlurm
) -> None:
    open_submission(sweep)
    site.answer("squeue", "*", "24|RUNNING|None|n1|1:00|/elsewhere/job.sh\n")
    assert reconcile_submissions(sweep) == {}
    assert ledger.read(sweep).submissions == {}


def test_reconcile_submissions_changes_nothing_while_slurm_does_not_answer(
    sweep: SweepPaths, site: FakeSlurm
) -> None:
    open_submission(sweep)
    site.answer("squeue", "*", "Unable to contact slurm controller", code=1)
    with pytest.raises(SlurmUnavailableError):
        reconcile_submissions(sweep)
    assert list(ledger.read(sweep).submissions) == ["one"]


@pytest.mark.parametrize(
    ("ids", "runs", "jobs", "line"),
    [
        ({"STAGE": "1", "RUNS": "2"}, 1, 1, "submitted job 2: run (stage job 1 first, {last})"),
        ({"RUNS": "2"}, 9, 9, "submitted job 2: array of 9 runs ({last})"),
        (
            {"STAGE": "1", "FEATURES": "5", "RUNS": "2"},
            9,
            9,
            "submitted job 2: array of 9 runs (stage job 1 first, features job 5 second, {last})",
        ),
        ({"RUNS": "2"}, 9, 3, "submitted job 2: array of 9 runs in 3 jobs ({last})"),
        ({"RUNS1": "2", "RUNS2": "4"}, 9, 9, "submitted jobs 2, 4: 2 arrays of 9 runs ({last})"),
        ({}, 0, 0, "submitted job 3, which compares the runs when all have ended"),
    ],
)
def test_summarize_names_all_jobs(ids: dict[str, str], runs: int, jobs: int, line: str) -> None:
    assert summarize({**ids, "COLLECT": "3"}, runs, jobs) == line.format(last="collect job 3 last")
