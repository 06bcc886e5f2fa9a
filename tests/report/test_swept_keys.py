"""What runs differ in, and how they are called."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.synthetic import config_of
from xray_hpc.report.read_run import by_key, flatten
from xray_hpc.report.run_result import RunResult
from xray_hpc.report.swept_keys import compared_keys, labels, short, show_value, swept_keys, value


def run(name: str, model: str = "ft", *words: str, **changes: Any) -> RunResult:
    config = flatten(config_of(model, **changes))
    return RunResult(name, model, "finished", config=config, overrides=by_key(words))


def test_only_keys_that_differ_are_swept() -> None:
    runs = [run("ft-1", train__learning_rate=1e-5), run("ft-2", seed=7), run("ft-3", cache="/b")]
    assert swept_keys(runs) == ["train.learning_rate", "seed"]


def test_a_choice_of_model_brings_its_own_keys_but_compares_none() -> None:
    runs = [run("cnn-1", "cnn"), run("ft-2", "ft")]
    assert swept_keys(runs) == [
        *("model.backbone", "model.weights", "model.unfreeze"),
        *("model.head_units", "model.head_dropout"),
    ]
    assert compared_keys(runs) == []


def test_a_switched_off_section_shows_in_its_keys() -> None:
    runs = [run("ft-1"), run("ft-2", train__early_stopping=None)]
    assert swept_keys(runs) == [
        f"train.early_stopping.{key}" for key in ("monitor", "patience", "min_delta")
    ]


def test_runs_without_a_config_say_nothing() -> None:
    assert swept_keys([RunResult("ft-1", "ft", "missing"), run("ft-2"), run("ft-3", seed=1)]) == [
        "seed"
    ]


def test_labels_name_the_model_and_what_it_is_compared_by() -> None:
    runs = [
        run("cnn-1", "cnn"),
        run("ft-2", seed=1),
        run("ft-3", train__learning_rate=1e-5, seed=1),
    ]
    keys = compared_keys(runs)
    assert labels(runs, keys) == {
        "cnn-1": "cnn, lr 0.001",
        "ft-2": "ft, lr 0.001",
        "ft-3": "ft, lr 1e-05",
    }


def test_runs_of_one_label_are_told_apart_by_their_names() -> None:
    runs = [run("ft-1"), run("ft-2"), run("tl-3", "tl")]
    assert labels(runs, []) == {"ft-1": "ft (1)", "ft-2": "ft (2)", "tl-3": "tl"}


@given(st.lists(st.tuples(st.sampled_from(["tl", "ft"]), st.integers(1, 3), st.integers(1, 3))))
def test_labels_are_never_shared(drawn: list[tuple[str, int, int]]) -> None:
    runs = [
        run(f"{model}-{i}", model, seed=seed, train__epochs=epochs)
        for i, (model, seed, epochs) in enumerate(drawn)
    ]
    said = labels(runs, compared_keys(runs))
    assert len(set(said.values())) == len(runs)


def test_an_experiment_is_compared_by_its_name_alone() -> None:
    runs = [
        run("vgg-1", "vgg", "experiment=vgg", augment__rotation=30.0, data__image_size=150),
        run("tl-2", "tl", "experiment=larcc", data__channels=3),
        run("cnn-3", "cnn", "experiment=larcc", data__channels=3),
    ]
    assert compared_keys(runs) == ["experiment"]
    assert swept_keys(runs)[:3] == ["experiment", "data.image_size", "data.channels"]
    assert labels(runs, ["experiment"]) == {
        "vgg-1": "vgg",
        "tl-2": "tl, larcc",
        "cnn-3": "cnn, larcc",
    }


def test_a_choice_explains_what_it_brings_and_a_key_of_the_command_line_stands_beside_it() -> None:
    runs = [
        run(f"cnn-{i}", "cnn", f"augment={name}", f"seed={seed}", augment__zoom=zoom, seed=seed)
        for i, (name, zoom, seed) in enumerate([("none", 0.0, 1), ("vgg", 0.2, 1), ("vgg", 0.2, 2)])
    ]
    assert compared_keys(runs) == ["augment", "seed"]
    assert labels(runs, compared_keys(runs))["cnn-1"] == "cnn, augment vgg, seed 1"


def test_what_no_choice_explains_is_compared_too() -> None:
    """conf/ was changed between two launches of one sweep."""
    runs = [
        run("vgg-1", "vgg", "experiment=vgg"),
        run("vgg-2", "vgg", "experiment=vgg", train__optimizer="rmsprop"),
        run("lung-3", "lung", "experiment=lung", train__epochs=40),
    ]
    assert compared_keys(runs) == ["experiment", "train.optimizer"]


def test_an_augmentation_does_not_explain_the_training() -> None:
    runs = [
        run("cnn-1", "cnn", "augment=none"),
        run("cnn-2", "cnn", "augment=vgg", augment__zoom=0.2, train__epochs=3),
    ]
    assert compared_keys(runs) == ["augment", "train.epochs"]


def test_words_that_came_to_the_same_are_not_compared() -> None:
    runs = [
        run("ft-1", "ft", "train.learning_rate=1e-3", "cluster=local", seed=1),
        run("ft-2", "ft", "train.learning_rate=0.001", "cluster=auto", "sweep=lr", seed=2),
    ]
    assert compared_keys(runs) == ["seed"]


def test_a_section_that_was_switched_off_is_null_and_one_that_was_not_has_no_value() -> None:
    off = run("ft-1", "ft", "train.early_stopping=null", train__early_stopping=None)
    runs = [off, run("ft-2")]
    assert compared_keys(runs) == ["train.early_stopping"]
    assert [value(run, "train.early_stopping") for run in runs] == ["null", None]


def test_a_key_that_does_not_apply_has_no_value_whatever_the_command_line_said() -> None:
    cnn = run("cnn-1", "cnn", "model.unfreeze=2")
    ft = run("ft-2", "ft", "model.unfreeze=2", model__unfreeze=2)
    deeper = run("ft-3", "ft", "model.unfreeze=4")
    assert compared_keys([cnn, ft, deeper]) == ["model.unfreeze"]
    assert [value(run, "model.unfreeze") for run in (cnn, ft, deeper)] == [None, 2, 4]


@given(
    st.lists(
        st.tuples(st.sampled_from(["tl", "ft"]), st.integers(1, 3), st.sampled_from(["a", "b"])),
        max_size=6,
    )
)
def test_every_difference_between_runs_of_a_model_shows_in_a_compared_key(
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
            alike = all(value(one, key) == value(other, key) for key in keys)
            if one.model == other.model and alike:
                assert one.config == other.config


@pytest.mark.parametrize(
    ("value", "shown"), [(1e-5, "1e-05"), (0.1, "0.1"), (None, "null"), (True, "true"), (3, "3")]
)
def test_values_are_shown_as_the_command_line_has_them(value: Any, shown: str) -> None:
    assert show_value(value) == shown


def test_keys_are_shortened() -> None:
    assert [short("train.learning_rate"), short("model.unfreeze"), short("seed")] == [
        *("lr", "unfreeze", "seed"),
    ]
