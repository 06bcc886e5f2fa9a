from __future__ import annotations

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode

from xray_hpc.hydra_app import own_part, to_mapping
from xray_hpc.launch import compose_all
from xray_hpc.resources import resource

CONF = resource("conf")


@pytest.fixture
def loader() -> ConfigLoaderImpl:
    return ConfigLoaderImpl(create_config_search_path(str(CONF)))


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
    ],
)
def test_composing_once_a_choice_of_groups_gives_what_hydra_composes(
    loader: ConfigLoaderImpl, words: list[str]
) -> None:
    master = loader.load_configuration("config", [], RunMode.MULTIRUN)
    theirs = to_mapping(own_part(loader.load_sweep_config(master, words)))
    jobs = [["seed=9"], words, words]  # others before it leave no trace
    ours = [values for _, values in compose_all(loader, master, jobs)]
    assert ours[1] == ours[2] == theirs
    assert ours[0]["seed"] == 9
