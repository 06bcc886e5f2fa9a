"""Tests that benchmarks run and print their tables; measured values are not checked."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks import (
    bench_tutorial,
    dataset_subset,
    line_fit,
    process_monitor,
    results_file,
    run_phases,
    training_methods,
    tutorial_training,
)
from xray_hpc.config.run_config import ModelConfig

REPOSITORY = Path(__file__).parents[1]
BENCHMARKS = REPOSITORY / "tests" / "benchmarks"


def run_benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )


def test_topic_prints_its_table_and_the_machine() -> None:
    before = (BENCHMARKS / "RESULTS.md").read_text()
    done = run_benchmarks("--only", "compose", "--repeat", "1")
    assert done.returncode == 0, done.stderr
    title, about, table, remark, facts = done.stdout.strip().split("\n\n")
    assert title == "## Composing the configs of 1,000 runs"
    assert about.startswith("Within one process, in turn.")
    head, rule, *rows = table.splitlines()
    assert {len(line) for line in (head, rule, *rows)} == {len(head)}
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == [
        "launcher",
        "Hydra, extrapolated from 10 runs",
    ]
    numbers = [number for row in cells for number in row[2].replace(",", "").split(" / ")]
    assert all(float(number) > 0 for number in numbers)
    assert remark.startswith("Hydra takes ")
    assert facts.startswith(
        "*Measured by `python -m tests.benchmarks --only compose --repeat 1`: date"
    )
    assert str(REPOSITORY) not in done.stdout
    assert (BENCHMARKS / "RESULTS.md").read_text() == before


def test_saving_a_topic_replaces_only_its_section() -> None:
    put = functools.partial(results_file.with_topic, topics=("start", "growth"))
    head = "# Benchmarks\n\n"
    both = put(put(head, name="growth", text="## G\n"), name="start", text="## S\n")
    assert both == f"{head}<!-- start -->\n\n## S\n\n<!-- growth -->\n\n## G\n"
    again = put(both, name="start", text="## New\n")
    assert again == both.replace("## S", "## New")
    assert put(again, name="growth", text="## G\n") == again


def test_unknown_topic_is_refused_with_the_valid_ones() -> None:
    done = run_benchmarks("--only", "speed")
    assert done.returncode == 2
    topics = ("start", "compose", "launch", "submit", "status", "collect", "images", "run")
    others = ("memory", "sharing", "checkpoints", "tutorial", "growth")
    assert all(topic in done.stderr for topic in (*topics, *others))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A data set of 60 synthetic X-rays, 48 of them to train and validate on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("XRAY_HPC_DATA", raising=False)
        folder = tmp_path_factory.mktemp("drawn")
        return dataset_subset.find_dataset(folder, drawn=60)


def files(root: Path, split: str) -> set[str]:
    return {str(path.relative_to(root)) for path in (root / split).rglob("*.*") if path.is_file()}


def test_smaller_subset_is_contained_in_larger_one(drawn: Any, tmp_path: Path) -> None:
    small, large = (dataset_subset.make_subset(drawn, images, tmp_path) for images in (24, 48))
    assert sum(large.images.values()) == 60
    for split, images in large.images.items():  # each class is rounded separately
        assert small.images[split] == pytest.approx(images / 2, abs=1)
    for split in ("train", "val", "test"):
        assert files(small.root, split) < files(large.root, split)
        for name in files(small.root, split):
            assert (small.root / name).read_bytes() == (large.root / name).read_bytes()


def test_functions_of_the_run_phases_exist() -> None:
    from xray_hpc.training import train_run
    from xray_hpc.training.epoch_callbacks import EpochTables

    for name in run_phases.PHASES:
        assert callable(getattr(train_run, name))
    assert callable(train_run.fit)
    assert "on_epoch_end" in vars(EpochTables)


def test_sweep_table_has_measured_and_computed_rows(
    tmp_path: Path,
) -> None:
    usage = process_monitor.ResourceUse(10.0, 20.0, 10**9, {"training": 15.0})
    stages = {"build": 1.0, "train": 60.0, "validate": 1.0, "evaluate": 40.0}
    one = {"stages": stages, "epochs": [11.0, 21.0], "passes": [5.0, 15.0, 25.0], "auc": 0.9}
    part = functools.partial(dataset_subset.DatasetSubset, tmp_path)
    two = [part({"train": 4 * n, "validation": n, "test": n}) for n in (2, 4)]
    theirs = {
        run: training_methods.TutorialResult(usage, 3.0, {run: one}) for run in bench_tutorial.RUNS
    }
    found = bench_tutorial.ComparisonResult(
        bench_tutorial.BackboneCase("A", "mobilenet_v2", 10, 20, (), 2, 10),
        *(training_methods.Task(part, 32, 2, "mobilenet_v2", None) for part in two),
        theirs,
        {},
        theirs,
        {
            "float32": {
                count: training_methods.ToolkitResult(
                    usage, {run: training_methods.Run(0.8, 4) for run in bench_tutorial.RUNS}
                )
                for count in (10, 20)
            }
        },
    )
    # A run: 1 to build, 1 + 5 - 10 once; 10 an epoch and 10 a pass for 10 images.
    each = 1 + 1 - 5 + 2 * 10 + 3 * 10
    assert found.tutorial_sweep(10) == pytest.approx(3 + 9 * each)
    table = bench_tutorial.sweep_table(found, 40)
    assert [row[0] for row in table.rows] == ["10", "20", "40"]
    assert [row[4] for row in table.rows] == ["measured", "measured", "computed"]
    measured = bench_tutorial.whole_dataset_table(found)
    computed = 3 + 1 + 1 - 5 + 2 * (2 * 10 + 3 * 10)
    assert [row[:2] for row in measured.rows] == [(f"{run}", f"{computed:.0f}") for run in theirs]
    for made in (
        table,
        measured,
        bench_tutorial.toolkit_process_table(found),
        bench_tutorial.tutorial_stage_table(found),
    ):
        assert {len(row) for row in made.rows} == {len(made.columns)}


def test_child_processes_are_measured() -> None:
    child = "import time\nbuffer = bytearray(10**8)\nwhile time.process_time() < 1: pass"
    # Only the command line of the child contains "busy" in one piece.
    start = f"subprocess.run([sys.executable, '-c', {child!r}, 'bu' + 'sy'], check=True)"
    usage = process_monitor.measure_process(
        ["-c", f"import subprocess, sys; {start}"], {"busy": "busy child"}
    )
    assert usage.cpu >= 1
    assert usage.peak >= 10**8
    assert set(usage.kinds) <= {"busy child", "other"}
    assert 0 < usage.kinds["busy child"] <= usage.cpu


def test_memory_that_processes_share_counts_once() -> None:
    child = "import mmap, os, time; shared = mmap.mmap(-1, 10**8); shared.write(bytes(10**8)); "
    child += "os.fork(); sum(shared[::4096]); time.sleep(2)"
    each, once = (
        process_monitor.measure_process(["-c", child], {}, shared_once=shared_once).peak
        for shared_once in (False, True)
    )
    assert each > 2 * 10**8
    assert 10**8 < once < 1.5 * 10**8


def test_failed_process_raises() -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        process_monitor.measure_process(["-c", "raise OSError('no such thing')"], {})


@pytest.mark.parametrize("unfreeze", [0, 2, 13])
def test_tutorial_model_has_the_same_trainable_weights(
    unfreeze: int,
) -> None:
    from xray_hpc.models.build_model import build_model

    settings = tutorial_training.Settings("", 32, 1, "MobileNetV2", None, ())
    theirs = tutorial_training.pretrained(settings, unfreeze)
    config = ModelConfig(
        name="ft" if unfreeze else "tl",
        backbone="mobilenet_v2",
        weights="none",
        unfreeze=unfreeze or None,
        preprocessing="unit",
        head_units=128,
        head_dropout=0.1,
    )
    ours = build_model(config, (32, 32, 3), 2)
    shapes = [[tuple(v.shape) for v in model.trainable_variables] for model in (theirs, ours)]
    assert shapes[0] == shapes[1]


def test_tutorial_training_reports_its_stages(
    drawn: Any,
    tmp_path: Path,
) -> None:
    task = training_methods.Task(
        dataset_subset.make_subset(drawn, 24, tmp_path), 32, 2, "mobilenet_v2", None
    )
    training = training_methods.Training("cnn", 1e-3)
    way = training_methods.train_like_tutorial(task, task.epochs, [training], tmp_path)
    took = way.trainings[training]
    assert set(took["stages"]) == {"build", "train", "validate", "evaluate"}
    assert 0 < way.start + way.cpu(training) <= way.usage.cpu
    first, second = took["epochs"]
    assert 0 < first < second < way.cpu(training)
    assert 0 <= took["auc"] <= 1


finite = st.floats(-1e3, 1e3)


@given(intercept=finite, slope=finite, places=st.sets(st.integers(0, 100), min_size=2, max_size=6))
def test_fit_line_recovers_a_line(
    intercept: float,
    slope: float,
    places: set[int],
) -> None:
    fitted = line_fit.fit_line({x: intercept + slope * x for x in places})
    assert fitted.intercept == pytest.approx(intercept, abs=1e-6)
    assert fitted.slope == pytest.approx(slope, abs=1e-6)
