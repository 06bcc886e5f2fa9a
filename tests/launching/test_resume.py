from __future__ import annotations

import re
from typing import Any

import pytest

from xray_hpc.config.yaml_files import read_yaml
from xray_hpc.errors import UserError
from xray_hpc.launching.launch_sweep import launch
from xray_hpc.launching.resume import resume, submit_waiting
from xray_hpc.records import ledger
from xray_hpc.records.paths import SweepPaths
from xray_hpc.records.run_record import Status, update_record


@pytest.fixture
def sweep(composer: Any, capsys: pytest.CaptureFixture[str]) -> SweepPaths:
    """A sweep of two runs of which only the folders were made."""
    plan = composer.plan(["seed=1", "cluster.kind=none"], ["seed=2", "cluster.kind=none"])
    launch(plan, ["-m", "seed=1,2", "cluster=none"])
    capsys.readouterr()
    paths: SweepPaths = plan.sweep
    return paths


def test_a_sweep_is_launched_again_from_its_folder(
    sweep: SweepPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = list(ledger.read(sweep).planned)
    assert resume(sweep) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        f"sweep sweep: 2 runs, 2 to run, in {sweep.folder}",
        f"  {one}  run: never ran  (seed=1)",
        f"  {other}  run: never ran  (seed=2)",
    ]


def test_runs_with_a_feature_extractor_are_launched_again_too(
    composer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of what the images are, its files do not say enough to tell how much is kept."""
    plan = composer.plan(["cluster.kind=none", "train.epochs=20"])
    launch(plan, ["cluster=none"])
    capsys.readouterr()
    assert resume(plan.sweep) == 0
    line = (
        r"cached features: one pass over the images for 1 run on 4 views of each image, about \d+ "
    )
    assert re.search(line + r"times less work \(train", capsys.readouterr().out)


def test_its_command_is_kept(sweep: SweepPaths) -> None:
    resume(sweep)
    assert read_yaml(sweep.sweep_yaml)["command"] == ["-m", "seed=1,2", "cluster=none"]


def test_where_it_runs_can_be_changed(sweep: SweepPaths) -> None:
    resume(sweep, ["cluster.mem=32G", "cluster.cpu_job.cpus=4", "cluster.on_failure.bug=requeue"])
    cluster = read_yaml(sweep.sweep_yaml)["cluster"]
    assert (cluster["mem"], cluster["cpu_job"]["cpus"], cluster["cpus"]) == ("32G", 4, 4)
    assert cluster["on_failure"]["bug"] == "requeue"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.epochs=9", r"train.epochs=9 cannot be given with --resume, which changes no run"),
        ("cluster=local", r"it takes cluster.KEY=VALUE, wait=true, dry_run=true"),
        ("cluster.memm=1G", r"cluster.memm is unknown; did you mean 'mem'\?"),
        ("wait=maybe", r"wait is maybe; it must be true or false"),
        ("cluster.mem=[1", r"no viable alternative|mismatched input"),
        ("cluster.gpus=-1", r"cluster.gpus is -1; it must be 0 or more"),
    ],
)
def test_a_word_that_cannot_be_is_refused(sweep: SweepPaths, word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        resume(sweep, [word])


def test_a_dry_run_changes_nothing(sweep: SweepPaths, capsys: pytest.CaptureFixture[str]) -> None:
    before = sweep.sweep_yaml.read_bytes(), sweep.ledger.read_bytes()
    assert resume(sweep, ["dry_run=true", "cluster.mem=32G"]) == 0
    assert "dry_run=true: nothing was made or submitted" in capsys.readouterr().out
    assert (sweep.sweep_yaml.read_bytes(), sweep.ledger.read_bytes()) == before


def test_a_run_without_its_configuration_is_named(
    sweep: SweepPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = list(ledger.read(sweep).planned)
    sweep.run(one).config.unlink()
    resume(sweep)
    said = capsys.readouterr().out
    assert f"note: {one}: " in said
    assert "holds no config.yaml; only the sweep's own command makes it anew" in said
    assert f"  {other}  run: never ran" in said


def test_a_folder_that_was_never_launched_is_refused(sweep: SweepPaths) -> None:
    sweep.sweep_yaml.unlink()
    with pytest.raises(UserError, match=r"holds no sweep\.yaml; launch it again by its command"):
        resume(sweep)


def test_values_are_read_as_a_launch_reads_them(sweep: SweepPaths) -> None:
    resume(sweep, ["cluster.time=12:00:00", "cluster.qos=on", "cluster.setup=[module load cuda]"])
    cluster = read_yaml(sweep.sweep_yaml)["cluster"]
    assert (cluster["time"], cluster["setup"]) == ("12:00:00", ["module load cuda"])


def test_only_runs_that_wait_for_room_are_submitted_by_the_collect_job(
    sweep: SweepPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    submit_waiting(sweep)
    assert capsys.readouterr().out == ""
    one, other = list(ledger.read(sweep).planned)
    ledger.append(sweep, "waiting", runs=[other])
    update_record(sweep.run(one), status=Status.FAILED)
    submit_waiting(sweep)
    assert "1 run, 1 to run" in capsys.readouterr().out
