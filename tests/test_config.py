from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config import (
    AugmentConfig,
    ClusterConfig,
    RunConfig,
    TrainConfig,
    as_dict,
    build,
    check_memory,
    minutes,
    read_yaml,
    to_yaml,
)
from xray_hpc.errors import UserError

RUN: dict[str, Any] = {
    "data": {
        "source": "demo",
        "root": None,
        "image_size": 96,
        "channels": 1,
        "split": "patient",
        "validation_fraction": 0.2,
        "split_seed": 42,
        "demo_images": 800,
        "demo_seed": 0,
    },
    "model": {"name": "ft", "backbone": "demo", "weights": "demo", "unfreeze": 4},
    "augment": {"zoom": 0.1, "height_shift": 0.1, "width_shift": 0.1},
    "train": {"epochs": 10, "batch_size": 32, "learning_rate": 0.001},
    "seed": 42,
}


def changed(key: str, value: Any) -> dict[str, Any]:
    """``RUN`` with the dotted ``key`` set; the value ``...`` removes it."""
    values = copy.deepcopy(RUN)
    *parents, last = key.split(".")
    inner = values
    for parent in parents:
        inner = inner.setdefault(parent, {})
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return values


def test_a_mapping_becomes_typed_values() -> None:
    config = build(RunConfig, RUN)
    assert config.data.image_size == 96
    assert config.train.early_stopping is not None
    assert config.train.early_stopping.patience == 5
    assert config.augment.fill_mode == "reflect"


def test_a_config_makes_the_mapping_that_makes_it() -> None:
    config = build(RunConfig, RUN)
    assert build(RunConfig, as_dict(config)) == config


def test_a_whole_number_will_do_for_a_fraction() -> None:
    rate = build(RunConfig, changed("train.learning_rate", 1)).train.learning_rate
    assert isinstance(rate, float)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "seeds",
            1,
            "seeds is unknown; did you mean 'seed'? (valid: data, model, augment, train, ",
        ),
        ("train.lr", 1, "train.lr is unknown (valid: epochs, batch_size, learning_rate, "),
        ("train.epoch", 1, "train.epoch is unknown; did you mean 'epochs'? "),
        ("train.epochs", ..., "train.epochs is missing; give it a value"),
        ("train", None, "train is None; it must hold keys of its own"),
        ("train.epochs", "ten", "train.epochs is 'ten'; it must be a whole number"),
        ("train.epochs", 1.5, "train.epochs is 1.5; it must be a whole number"),
        ("train.epochs", True, "train.epochs is True; it must be a whole number"),
        ("train.epochs", 0, "train.epochs is 0; it must be 1 or more"),
        ("train.batch_size", 0, "train.batch_size is 0; it must be 1 or more"),
        ("train.learning_rate", 0, "train.learning_rate is 0.0; it must be more than 0"),
        ("train.learning_rate", -1, "train.learning_rate is -1.0; it must be more than 0"),
        ("train.learning_rate", float("nan"), "train.learning_rate is nan; it must be more than 0"),
        ("train.learning_rate", float("inf"), "train.learning_rate is inf; it must be more than 0"),
        ("train.learning_rate", "1e-3", "train.learning_rate is '1e-3'; it must be a number"),
        ("train.mixed_precision", 1, "train.mixed_precision is 1; it must be true or false"),
        (
            "train.optimizer",
            "adm",
            "train.optimizer 'adm' is unknown; did you mean 'adam'? (valid: adam, rmsprop, sgd)",
        ),
        (
            "train.reduce_lr",
            {"factor": 1.0},
            "train.reduce_lr.factor is 1.0; it must lie between 0 and 1",
        ),
        (
            "train.early_stopping",
            {"patience": -1},
            "train.early_stopping.patience is -1; it must be 0 or more",
        ),
        ("data.channels", 2, "data.channels '2' is unknown (valid: 1, 3)"),
        ("data.channels", True, "data.channels 'True' is unknown"),
        ("data.image_size", 4, "data.image_size is 4; it must be 8 to 4096"),
        ("data.validation_fraction", 1.0, "data.validation_fraction is 1.0; it must lie between"),
        ("data.demo_images", 5, "data.demo_images is 5; it must be 40 to 100000"),
        ("data.demo_seed", None, "data.demo_seed is not set; it must be 0 to 2^32-1"),
        ("data.source", "folder", "data.root is not set; it must name a path"),
        ("data.split", "patients", "data.split 'patients' is unknown; did you mean 'patient'?"),
        ("data.root", 7, "data.root is 7; it must be a text"),
        ("model.unfreeze", 0, "model.unfreeze is 0; it must be 1 or more"),
        ("model.head_dropout", 1.0, "model.head_dropout is 1.0; it must be at least 0 and below 1"),
        ("augment.zoom", 1.0, "augment.zoom is 1.0; it must be at least 0 and below 1"),
        ("seed", -1, "seed is -1; it must be 0 to 2^32-1"),
    ],
)
def test_a_mistake_names_its_key(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        build(RunConfig, changed(key, value))
    assert str(caught.value).startswith(message)


def test_early_stopping_and_reduce_lr_may_be_off() -> None:
    values = changed("train.early_stopping", None)
    assert build(RunConfig, values).train.early_stopping is None


def test_augmentation_of_zero_is_none_at_all() -> None:
    assert AugmentConfig().identity
    assert not AugmentConfig(width_shift=0.1).identity


rates = st.floats(min_value=1e-12, max_value=1e3)


@given(rates, st.integers(1, 10**6), st.integers(1, 10**6))
def test_any_sensible_training_is_taken_and_kept(rate: float, epochs: int, batch: int) -> None:
    values = {"learning_rate": rate, "epochs": epochs, "batch_size": batch}
    config = build(TrainConfig, values)
    assert as_dict(config)["learning_rate"] == rate
    assert build(TrainConfig, as_dict(config)) == config


def test_lists_and_free_mappings_are_read() -> None:
    values = {"kind": "slurm", "setup": ["module load cuda"], "extra": {"nice": 100}, "time": "1-0"}
    config = build(ClusterConfig, values)
    assert config.setup == ("module load cuda",)
    assert config.extra == {"nice": 100}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("setup", "module load", "setup is 'module load'; it must be a list"),
        ("setup", [1], "setup[0] is 1; it must be a text"),
        ("extra", [], "extra is []; it must hold keys of its own"),
        ("time", "soon", "cluster.time is soon; it must be minutes, HH:MM:SS or D-HH:MM:SS"),
        ("time", 0, "cluster.time is 0; it must be a minute or more"),
        ("mem", "16 GB", "cluster.mem is 16 GB; it must be a size such as 500M or 16G"),
        ("gpus", -1, "cluster.gpus is -1; it must be 0 or more"),
        ("parallel", 0, "cluster.parallel is 0; it must be 1 or more"),
    ],
)
def test_a_mistake_about_the_cluster_names_its_key(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        build(ClusterConfig, {"kind": "slurm", key: value})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (90, 90),
        ("90", 90),
        ("10:30", 11),
        ("04:00:00", 240),
        ("1-0", 1440),
        ("1-02:30", 1590),
        ("2-00:00:01", 2881),
    ],
)
def test_times_are_read_as_slurm_reads_them(time: str | int, expected: int) -> None:
    assert minutes(time, "cluster.time") == expected


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_every_part_of_a_time_counts(days: int, hours: int, mins: int, seconds: int) -> None:
    text = f"{days}-{hours:02d}:{mins:02d}:{seconds:02d}"
    assert minutes(text, "cluster.time") == (days * 24 + hours) * 60 + mins + 1


def test_yaml_reads_back_as_written(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    config = build(RunConfig, changed("data.root", "/data/it's $(here), yes: 1e-5 #"))
    file.write_text(to_yaml(as_dict(config)), encoding="utf-8")
    assert build(RunConfig, read_yaml(file)) == config


@given(value=rates)
def test_a_rate_survives_yaml(value: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "rate.yaml"
    file.write_text(to_yaml({"rate": value}))
    assert read_yaml(file) == {"rate": value}


@pytest.mark.parametrize("text", ["- 1\n", "a: [", "\x00"])
def test_what_is_no_yaml_mapping_names_the_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"config.yaml"):
        read_yaml(file)


@given(root=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])))
def test_any_name_survives_yaml(root: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "name.yaml"
    file.write_text(to_yaml({"root": root}), encoding="utf-8")
    assert read_yaml(file) == {"root": root}


@pytest.mark.parametrize("memory", ["0", "G", "16 G", "1.5G", "16g"])
def test_what_is_no_memory_size_is_refused(memory: str) -> None:
    with pytest.raises(UserError, match=r"cluster\.mem is"):
        check_memory(memory, "cluster.mem")


@pytest.mark.parametrize("memory", ["16000", "16G", "16GB", "500M", None])
def test_a_memory_size_is_taken_as_slurm_takes_it(memory: str | None) -> None:
    check_memory(memory, "cluster.mem")
