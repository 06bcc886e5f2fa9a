"""The plan of a sweep: its distinct runs and its notes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Composer
from xray_hpc.errors import UserError
from xray_hpc.launching.plan import make_plan

CNN = "model.name=cnn"


def test_make_plan_makes_a_run_per_distinct_combination(composer: Composer) -> None:
    plan = composer.plan(["model.unfreeze=2"], ["model.unfreeze=4"])
    assert [run.config.model.unfreeze for run in plan.runs] == [2, 4]
    assert plan.notes == ()


def test_make_plan_merges_combinations_that_differ_in_an_unused_key(composer: Composer) -> None:
    plan = composer.plan([CNN, "model.unfreeze=2"], [CNN, "model.unfreeze=4"], [])
    assert [run.config.model.name for run in plan.runs] == ["cnn", "ft"]
    assert plan.notes == ("model.unfreeze does not apply to cnn: 2 combinations make 1 run",)


def test_make_plan_notes_an_unused_key_of_a_single_run(composer: Composer) -> None:
    plan = composer.plan([CNN, "model.unfreeze=2"])
    assert plan.notes == ("model.unfreeze does not apply to cnn; ignored",)


def test_make_plan_notes_an_unused_nested_key(composer: Composer) -> None:
    values = composer.values(CNN)
    values["model"]["backbones"] = {"demo": "none"}
    plan = make_plan([(["model.backbones.demo=none"], values)], default_name="sweep")
    assert plan.notes == ("model.backbones.demo does not apply to cnn; ignored",)


def test_make_plan_notes_that_a_model_has_no_features_to_cache(composer: Composer) -> None:
    plan = composer.plan([CNN, "train.features=float32"], ["train.features=float32"])
    assert [run.config.train.features for run in plan.runs] == ["off", "float32"]
    assert plan.notes == ("train.features does not apply to cnn; ignored",)


def test_make_plan_merges_equal_combinations(composer: Composer) -> None:
    plan = composer.plan(["seed=1"], ["seed=1"], ["seed=2"])
    assert len(plan.runs) == 2
    assert plan.notes == ("3 combinations make 2 runs of ft; the others are duplicates",)


def test_make_plan_rejects_a_swept_sweep_setting(composer: Composer) -> None:
    with pytest.raises(UserError, match="cannot be swept"):
        composer.plan(["name=a"], ["name=b"])


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".hidden", "a\nb", "-x", "a b", ".", "x" * 101, "a$b"]
)
def test_make_plan_rejects_an_invalid_sweep_name(composer: Composer, name: str) -> None:
    with pytest.raises(UserError, match="it must be a letter or digit, then"):
        composer.plan([f"name={name}"])


@pytest.mark.parametrize("name", ["a", "2024_01_15", "lr=1e-3+ft", "Röntgen-2.1", "x" * 100])
def test_make_plan_accepts_a_sweep_name(composer: Composer, name: str) -> None:
    values = composer.values() | {"name": name}
    assert make_plan([([], values)], default_name="s").settings.name == name


def test_make_plan_rejects_an_empty_sweep(composer: Composer) -> None:
    with pytest.raises(UserError, match="empty"):
        composer.plan()


def test_make_plan_writes_nothing(composer: Composer, tmp_path: Path) -> None:
    composer.plan([], ["seed=2"])
    assert list(tmp_path.iterdir()) == []
