"""What runs differ in, how they are called, and which is best."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import config_of

from xray_hpc.report.axes import compared_keys, labels, ranked, short, show_value, swept_keys
from xray_hpc.report.reading import Run, flatten


def run(name: str, model: str = "ft", **changes: Any) -> Run:
    return Run(name, model, "finished", config=flatten(config_of(model, **changes)))


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
        f"train.early_stopping.{key}"
        for key in ("monitor", "patience", "min_delta", "restore_best_weights")
    ]


def test_runs_without_a_config_say_nothing() -> None:
    assert swept_keys([Run("ft-1", "ft", "missing"), run("ft-2"), run("ft-3", seed=1)]) == ["seed"]


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


def scored(name: str, auc: float | None, loss: float | None, status: str = "finished") -> Run:
    return Run(name, "ft", status, metrics={"validation": {"auc": auc, "loss": loss}})


def test_the_best_come_first_and_unfinished_runs_not_at_all() -> None:
    runs = [
        scored("undefined", None, 0.1),
        scored("worse loss", 0.9, 0.5),
        scored("b", 0.8, 0.5),
        scored("a", 0.8, 0.5),
        scored("best", 0.95, None),
        scored("better loss", 0.9, 0.4),
        scored("failed", 0.99, 0.1, "failed"),
    ]
    order = ["best", "better loss", "worse loss", "a", "b", "undefined"]
    assert [run.name for run in ranked(runs)] == order


@pytest.mark.parametrize(
    ("value", "shown"), [(1e-5, "1e-05"), (0.1, "0.1"), (None, "null"), (True, "true"), (3, "3")]
)
def test_values_are_shown_as_the_command_line_has_them(value: Any, shown: str) -> None:
    assert show_value(value) == shown


def test_keys_are_shortened() -> None:
    assert [short("train.learning_rate"), short("model.unfreeze"), short("seed")] == [
        *("lr", "unfreeze", "seed"),
    ]
