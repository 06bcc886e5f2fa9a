"""compose_all compared with Hydra's own composition."""

from __future__ import annotations

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_hpc.config.compose import compose_all
from xray_hpc.config.hydra_app import own_part, to_mapping
from xray_hpc.package_folders import resource

LOADER = ConfigLoaderImpl(create_config_search_path(str(resource("conf"))))
MASTER = LOADER.load_configuration("config", [], RunMode.MULTIRUN)


def compose_with_hydra(words: list[str]) -> dict[str, object]:
    return to_mapping(own_part(LOADER.load_sweep_config(MASTER, words)))


@pytest.mark.parametrize(
    "words",
    [
        ["model=ft"],
        ["model=ft", "model.unfreeze=3", "seed=1"],
        ["model.unfreeze=3", "model=tl", "train.learning_rate=1e-5"],
        ["experiment=larcc", "model=cnn", "data.root=/x"],
        ["augment=vgg", "augment.zoom=0.5", "cluster.extra={exclude: n1}"],
        ["train=standard", "+train.extra=1", "train.early_stopping=null"],
        ["experiment=lung", "data=folder", "data.root=/x"],
        ["experiment=stacked", "scale=full", "model.backbones.densenet169=none"],
        ["experiment=larcc", "train.learning_rates.cnn=1e-4", "~train.reduce_lr.cooldown"],
        ["model=ft", "model.name=cnn"],  # the learning rate refers to it
        ["results=/elsewhere", "cache=/scratch"],
        ["seed='${train.epochs}'", "train.epochs=3"],
    ],
)
def test_compose_all_equals_hydra(words: list[str]) -> None:
    theirs = compose_with_hydra(words)
    jobs = [["seed=9"], words, words]  # independent of the job before it
    ours = [values for _, values in compose_all(LOADER, MASTER, jobs)]
    assert ours[1] == ours[2] == theirs
    assert ours[0]["seed"] == 9


VALUES = {
    "model": ["cnn", "tl", "ft", "stacked"],
    "augment": ["none", "larcc"],
    "experiment": ["larcc", "reduced"],
    "scale": ["demo", "full"],
    "model.unfreeze": ["1", "24", "null"],
    "model.name": ["cnn", "ft"],
    "model.backbones": ["{densenet121: none}", "null"],
    "train.learning_rate": ["1e-5", "0.1"],
    "train.learning_rates.ft": ["1e-6"],
    "train.early_stopping": ["null", "{monitor: val_auc, patience: 3, min_delta: 0.0}"],
    "train.early_stopping.patience": ["7"],
    "train.features": ["off", "float16"],
    "data.root": ["/x", "'a b'", "${results}"],
    "seed": ["1", "2"],
    "results": ["/r"],
    "cluster.mem": ["32G", "null"],
    "cluster.extra": ["{nice: 5}"],
    "+cluster.new": ["1"],
}
words = st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=6).flatmap(
    lambda keys: st.tuples(*(st.sampled_from([f"{key}={v}" for v in VALUES[key]]) for key in keys))
)


def test_compose_all_reports_the_first_invalid_override_as_hydra_does() -> None:
    words = ["experiment=reduced", "train.early_stopping.patience=7", "model.backbones={a: none}"]
    with pytest.raises(ConfigCompositionException) as theirs:
        compose_with_hydra(words)
    with pytest.raises(ConfigCompositionException) as ours:
        list(compose_all(LOADER, MASTER, [words]))
    assert str(ours.value) == str(theirs.value)


@settings(max_examples=8, deadline=None)
@given(words)
def test_compose_all_equals_hydra_for_any_overrides(drawn: tuple[str, ...]) -> None:
    overrides = list(drawn)
    try:
        theirs: object = compose_with_hydra(overrides)
    except ConfigCompositionException as error:
        theirs = str(error)
    try:
        ((_, ours),) = compose_all(LOADER, MASTER, [overrides])
        made: object = ours
    except ConfigCompositionException as error:
        made = str(error)
    assert made == theirs
