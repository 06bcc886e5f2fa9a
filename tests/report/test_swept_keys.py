"""Tests of the keys in which runs differ, and of run labels."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.fake_runs import fake_config
from xray_hpc.report.read_run import flatten, parse_overrides
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import (
    compared_keys,
    config_value,
    format_value,
    run_labels,
    short_name,
    swept_keys,
)


def run(name: str, model: str = "ft", *overrides: str, **changes: Any) -> RunResult:
    config = flatten(fake_config(model, **changes))
    return RunResult(name, model, "finished", config=config, overrides=parse_overrides(overrides))


def test_swept_keys_are_those_that_differ() -> None:
    runs = [run("ft-1", train__learning_rate=1e-5), run("ft-2", seed=7), run("ft-3", cache="/b")]
    assert swept_keys(runs) == ["train.learning_rate", "seed"]


def test_keys_implied_by_the_model_are_not_compared() -> None:
    runs = [run("cnn-1", "cnn"), run("ft-2", "ft")]
    assert swept_keys(runs) == [
        *("model.backbone", "model.weights", "model.unfreeze"),
        *("model.head_units", "model.head_dropout"),
    ]
    assert compared_keys(runs) == []


def test_disabled_section_differs_in_its_keys() -> None:
    runs = [run("ft-1"), run("ft-2", train__early_stopping=None)]
    assert swept_keys(runs) == [
        f"train.early_stopping.{key}" for key in ("monitor", "patience", "min_delta")
    ]


def test_runs_without_a_config_are_ignored() -> None:
    assert swept_keys([RunResult("ft-1", "ft", "missing"), run("ft-2"), run("ft-3", seed=1)]) == [
        "seed"
    ]


def test_labels_contain_model_and_compared_values() -> None:
    runs = [
        run("cnn-1", "cnn"),
        run("ft-2", seed=1),
        run("ft-3", train__learning_rate=1e-5, seed=1),
    ]
    keys = compared_keys(runs)
    assert run_labels(runs, keys) == {
        "cnn-1": "cnn, lr 0.001",
        "ft-2": "ft, lr 0.001",
        "ft-3": "ft, lr 1e-05",
    }


def test_equal_labels_are_extended_by_the_run_hash() -> None:
    runs = [run("ft-1"), run("ft-2"), run("tl-3", "tl")]
    assert run_labels(runs, []) == {"ft-1": "ft (1)", "ft-2": "ft (2)", "tl-3": "tl"}


@given(st.lists(st.tuples(st.sampled_from(["tl", "ft"]), st.integers(1, 3), st.integers(1, 3))))
def test_labels_are_unique(drawn: list[tuple[str, int, int]]) -> None:
    runs = [
        run(f"{model}-{i}", model, seed=seed, train__epochs=epochs)
        for i, (model, seed, epochs) in enumerate(drawn)
    ]
    labels = run_labels(runs, compared_keys(runs))
    assert len(set(labels.values())) == len(runs)


def test_experiment_is_compared_by_name_only() -> None:
    runs = [
        run("vgg-1", "vgg", "experiment=vgg", augment__rotation=30.0, data__image_size=150),
        run("tl-2", "tl", "experiment=larcc", data__channels=3),
        run("cnn-3", "cnn", "experiment=larcc", data__channels=3),
    ]
    assert compared_keys(runs) == ["experiment"]
    assert swept_keys(runs)[:3] == ["experiment", "data.image_size", "data.channels"]
    assert run_labels(runs, ["experiment"]) == {
        "vgg-1": "vgg",
        "tl-2": "tl, larcc",
        "cnn-3": "cnn, larcc",
    }


def test_config_group_hides_the_keys_that_it_sets() -> None:
    runs = [
        run(f"cnn-{i}", "cnn", f"augment={name}", f"seed={seed}", augment__zoom=zoom, seed=seed)
        for i, (name, zoom, seed) in enumerate([("none", 0.0, 1), ("vgg", 0.2, 1), ("vgg", 0.2, 2)])
    ]
    assert compared_keys(runs) == ["augment", "seed"]
    assert run_labels(runs, compared_keys(runs))["cnn-1"] == "cnn, augment vgg, seed 1"


def test_difference_without_an_override_is_compared() -> None:
    """A file in conf/ changed between two launches of the sweep."""
    runs = [
        run("vgg-1", "vgg", "experiment=vgg"),
        run("vgg-2", "vgg", "experiment=vgg", train__optimizer="rmsprop"),
        run("lung-3", "lung", "experiment=lung", train__epochs=40),
    ]
    assert compared_keys(runs) == ["experiment", "train.optimizer"]


def test_augment_group_does_not_hide_train_keys() -> None:
    runs = [
        run("cnn-1", "cnn", "augment=none"),
        run("cnn-2", "cnn", "augment=vgg", augment__zoom=0.2, train__epochs=3),
    ]
    assert compared_keys(runs) == ["augment", "train.epochs"]


def test_overrides_with_equal_values_are_not_compared() -> None:
    runs = [
        run("ft-1", "ft", "train.learning_rate=1e-3", "cluster=local", seed=1),
        run("ft-2", "ft", "train.learning_rate=0.001", "cluster=auto", "sweep=lr", seed=2),
    ]
    assert compared_keys(runs) == ["seed"]


def test_disabled_section_has_the_value_null() -> None:
    off = run("ft-1", "ft", "train.early_stopping=null", train__early_stopping=None)
    runs = [off, run("ft-2")]
    assert compared_keys(runs) == ["train.early_stopping"]
    assert [config_value(run, "train.early_stopping") for run in runs] == ["null", None]


def test_key_that_does_not_apply_has_no_value() -> None:
    cnn = run("cnn-1", "cnn", "model.unfreeze=2")
    ft = run("ft-2", "ft", "model.unfreeze=2", model__unfreeze=2)
    deeper = run("ft-3", "ft", "model.unfreeze=4")
    assert compared_keys([cnn, ft, deeper]) == ["model.unfreeze"]
    assert [config_value(run, "model.unfreeze") for run in (cnn, ft, deeper)] == [None, 2, 4]


@given(
    st.lists(
        st.tuples(st.sampled_from(["tl", "ft"]), st.integers(1, 3), st.sampled_from(["a", "b"])),
        max_size=6,
    )
)
def test_runs_with_equal_compared_values_have_equal_configs(
    drawn: list[tuple[str, int, str]],
) -> None:
    runs = [
        run(
            f"{model}-{i}", model, f"experiment={name}", seed=seed, data__channels=3 - ord(name) % 2
        )
        for i, (model, seed, name) in enumerate(drawn)
    ]
    keys = compared_keys(runs)
    for one in runs:
        for other in runs:
            equal = all(config_value(one, key) == config_value(other, key) for key in keys)
            if one.model == other.model and equal:
                assert one.config == other.config


@pytest.mark.parametrize(
    ("value", "text"), [(1e-5, "1e-05"), (0.1, "0.1"), (None, "null"), (True, "true"), (3, "3")]
)
def test_format_value_as_on_the_command_line(value: Any, text: str) -> None:
    assert format_value(value) == text


def test_short_names_of_keys() -> None:
    assert [
        short_name("train.learning_rate"),
        short_name("model.unfreeze"),
        short_name("seed"),
    ] == [*("lr", "unfreeze", "seed")]


def test_key_that_changes_no_result_is_not_compared() -> None:
    word = "train.tensorboard=true"
    changed = run("b", "ft", "seed=2", word, train__tensorboard=True, seed=2)
    runs = [run("a", "ft", "seed=1", train__tensorboard=False, seed=1), changed]
    assert swept_keys(runs) == compared_keys(runs) == ["seed"]
