from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Composer
from xray_hpc.config.report_settings import ReportSettings
from xray_hpc.config.yaml_files import read_yaml
from xray_hpc.errors import NoClusterError, SlurmError, SlurmUnavailableError, UserError
from xray_hpc.launching import relaunch as resume_module
from xray_hpc.launching.launch_sweep import launch
from xray_hpc.launching.relaunch import resume, submit_waiting
from xray_hpc.monitoring.run_state import State, read_evidence, state_of
from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import Status, update_record
from xray_hpc.records.saved_report_settings import read_report_settings


@pytest.fixture
def sweep(composer: Composer, capsys: pytest.CaptureFixture[str]) -> SweepPaths:
    """A sweep of two runs that have only their folders."""
    plan = composer.plan(["seed=1", "cluster.kind=none"], ["seed=2", "cluster.kind=none"])
    launch(plan, ["-m", "seed=1,2", "cluster=none"])
    capsys.readouterr()
    paths: SweepPaths = plan.sweep
    return paths


def test_resume_launches_the_sweep_from_its_folder(
    sweep: SweepPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = list(ledger.read(sweep).planned)
    assert resume(sweep) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        f"sweep sweep: 2 runs, 2 to start, in {sweep.folder}",
        f"  {one}  start: never started  (seed=1)  learning rate 0.001",
        f"  {other}  start: never started  (seed=2)  learning rate 0.001",
    ]


def test_resume_launches_runs_with_a_feature_extractor(
    composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its files do not tell how many images there are, so the cache's size is left out."""
    plan = composer.plan(["cluster.kind=none", "train.epochs=20"])
    launch(plan, ["cluster=none"])
    capsys.readouterr()
    assert resume(plan.sweep) == 0
    assert re.search(r"cached features: .* about \d+ times less work \(", capsys.readouterr().out)


def test_resume_keeps_the_command_of_the_sweep(sweep: SweepPaths) -> None:
    resume(sweep)
    assert read_yaml(sweep.sweep_yaml)["command"] == ["-m", "seed=1,2", "cluster=none"]


def test_resume_applies_overrides_of_the_cluster(sweep: SweepPaths) -> None:
    resume(sweep, ["cluster.mem=32G", "cluster.cpu_job.cpus=4", "cluster.on_failure.bug=requeue"])
    cluster = read_yaml(sweep.sweep_yaml)["cluster"]
    assert (cluster["mem"], cluster["cpu_job"]["cpus"], cluster["cpus"]) == ("32G", 4, 4)
    assert cluster["on_failure"]["bug"] == "requeue"


def test_resume_applies_and_keeps_settings_of_the_report(sweep: SweepPaths) -> None:
    resume(sweep, ["report.images=false"])
    resume(sweep, ["report.select=val_auc"])
    assert read_report_settings(sweep) == ReportSettings("val_auc", False)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.epochs=9", r"train\.epochs=9 is not valid with --resume"),
        ("cluster=local", r"valid: cluster\.KEY=VALUE, report\.KEY=VALUE, wait=true, dry_run=true"),
        ("report.select=val_ac", r"report\.select 'val_ac' is unknown.*'val_auc'"),
        ("report.image=false", r"report\.image is unknown.*'images'"),
        ("cluster.memm=1G", r"cluster\.memm is unknown.*'mem'"),
        ("wait=maybe", r"wait is maybe"),
        ("cluster.mem=[1", r"no viable alternative|mismatched input"),
        ("cluster.gpus=-1", r"cluster\.gpus is -1"),
    ],
)
def test_resume_refuses_an_invalid_override(sweep: SweepPaths, word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resume(sweep, [word])


def test_resume_in_a_dry_run_changes_nothing(
    sweep: SweepPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sweep.sweep_yaml.read_bytes(), sweep.ledger.read_bytes()
    assert resume(sweep, ["dry_run=true", "cluster.mem=32G"]) == 0
    assert "dry_run=true" in capsys.readouterr().out
    assert (sweep.sweep_yaml.read_bytes(), sweep.ledger.read_bytes()) == before


@pytest.mark.parametrize("damage", ["removed", "cut", "changed"])
def test_resume_leaves_a_run_without_its_configuration(
    sweep: SweepPaths, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    one, other = list(ledger.read(sweep).planned)
    config = sweep.run(one).config
    text = config.read_text()
    if damage == "removed":
        config.unlink()
    elif damage == "cut":
        config.write_text(text[: len(text) // 2])
    else:
        config.write_text(text.replace("seed: ", "seed: 1"))
    assert resume(sweep) == 1
    output = capsys.readouterr().out
    assert re.search(rf"^note: {one} is not resumed: .*config\.yaml", output, re.MULTILINE)
    assert "run the sweep's own command" in output
    assert f"  {other}  start: never started" in output


def test_own_command_writes_a_damaged_configuration_again(
    composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = composer.plan(["seed=1", "cluster.kind=none"], ["seed=2", "cluster.kind=none"])
    assert launch(plan, ["-m"]) == 0
    one, _ = (plan.sweep.run(run.name) for run in plan.runs)
    text = one.config.read_text()
    one.config.write_text(text.replace("seed: 1", "seed: 9"))
    assert state_of(read_evidence(one)) is State.DAMAGED
    assert launch(plan, ["-m"]) == 0
    assert f"{one.name}  start: config.yaml " in capsys.readouterr().out
    assert one.config.read_text() == text
    assert state_of(read_evidence(one)) is State.CREATED


@pytest.mark.parametrize("name", ["run.json", "config.yaml"])
def test_launch_leaves_an_unreadable_run_and_exits_with_1(
    composer: Composer, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    plan = composer.plan(["seed=1", "cluster.kind=none"], ["seed=2", "cluster.kind=none"])
    launch(plan, ["-m"])
    one, other = (plan.sweep.run(run.name) for run in plan.runs)
    (one.folder / name).unlink()
    (one.folder / name).mkdir()
    capsys.readouterr()
    assert launch(plan, ["-m"]) == 1
    output = capsys.readouterr().out
    assert f"{one.name}  skip: unreadable: {name} (Is a directory)" in output
    assert f"{other.name}  start: never started" in output


def test_resume_refuses_a_folder_that_was_never_launched(sweep: SweepPaths) -> None:
    sweep.sweep_yaml.unlink()
    with pytest.raises(UserError, match=r"has no sweep\.yaml"):
        resume(sweep)


def test_resume_parses_values_as_a_launch_does(sweep: SweepPaths) -> None:
    words = ["cluster.time=12:00:00", "cluster.qos=1e3", "cluster.partition=a,1_0"]
    resume(sweep, [*words, "cluster.setup=[module load cuda]", "cluster.extra={comment: 1e3}"])
    cluster = read_yaml(sweep.sweep_yaml)["cluster"]
    assert (cluster["time"], cluster["setup"]) == ("12:00:00", ["module load cuda"])
    assert (cluster["qos"], cluster["partition"]) == ("1e3", "a,1_0")
    assert cluster["extra"] == {"comment": "1e3"}


def test_submit_waiting_launches_only_runs_above_the_submit_limit(
    sweep: SweepPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    submit_waiting(sweep)
    assert capsys.readouterr().out == ""
    one, other = list(ledger.read(sweep).planned)
    ledger.append(sweep, "waiting", runs=[other])
    update_record(sweep.run(one), status=Status.FAILED)
    submit_waiting(sweep)
    assert "1 run, 1 to start" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error", [SlurmUnavailableError("Socket timed out"), NoClusterError("no configuration")]
)
def test_submit_waiting_retries_while_slurm_does_not_answer(
    sweep: SweepPaths, monkeypatch: pytest.MonkeyPatch, error: SlurmError
) -> None:
    attempts: list[int] = []

    def fail_once(*_: object, **__: object) -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise error
        return 0

    monkeypatch.setattr(resume_module, "launch", fail_once)
    monkeypatch.setattr(resume_module, "RETRY_SECONDS", 0.0)
    ledger.append(sweep, "waiting", runs=list(ledger.read(sweep).planned))
    submit_waiting(sweep)
    assert len(attempts) == 2


def test_submit_waiting_does_not_retry_a_permanent_error(
    sweep: SweepPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []

    def refuse(*_: object, **__: object) -> int:
        attempts.append(1)
        raise SlurmError("Invalid account")

    monkeypatch.setattr(resume_module, "launch", refuse)
    ledger.append(sweep, "waiting", runs=list(ledger.read(sweep).planned))
    with pytest.raises(SlurmError):
        submit_waiting(sweep)
    assert len(attempts) == 1


def link_loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("sweep.yaml", os.mkdir),
        ("sweep.yaml", os.mkfifo),
        ("sweep.yaml", link_loop),
        ("runs", os.mkfifo),
        ("runs", link_loop),
    ],
)
def test_resume_names_what_is_in_the_place_of_its_files(
    sweep: SweepPaths, name: str, make: Callable[[Path], None]
) -> None:
    path = sweep.folder / name
    path.rename(sweep.folder / "away")
    make(path)
    with pytest.raises(UserError) as raised:
        resume(sweep)
    assert str(raised.value).startswith(f"{path} cannot be ")
    assert "remove or move it" in str(raised.value)


def test_resume_without_a_readable_run_says_why(sweep: SweepPaths) -> None:
    for name in ledger.read(sweep).planned:
        config = sweep.run(name).config
        config.unlink()
        os.mkfifo(config)
    with pytest.raises(UserError, match=r"no readable run; .*a FIFO.*remove or move it"):
        resume(sweep)
