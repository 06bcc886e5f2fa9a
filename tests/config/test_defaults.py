"""Every default has one home: the dataclasses of xray_hpc/config/."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.config.test_conf import composed
from xray_hpc.config.dataclass_conversion import default_values
from xray_hpc.config.run_config import RunSettings
from xray_hpc.config.sweep_settings import SweepSettings
from xray_hpc.config.yaml_files import read_yaml
from xray_hpc.package_folders import resource

CONF = resource("conf")
DEFAULTS = default_values(RunSettings) | default_values(SweepSettings)


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and values of a nested mapping."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_config_yaml_repeats_no_default() -> None:
    own = read_yaml(CONF / "config.yaml")
    own = {key: value for key, value in own.items() if key not in ("defaults", "hydra")}
    defaults = dict(leaves(DEFAULTS))
    assert {key: defaults[key] for key, _ in leaves(own)} == dict.fromkeys(dict(leaves(own)))


@pytest.mark.parametrize("file", sorted((CONF / "cluster").glob("*.yaml")), ids=lambda f: f.stem)
def test_a_cluster_file_sets_only_its_kind(file: Any) -> None:
    assert set(read_yaml(file)) == {"kind"}


def test_hydra_composes_the_defaults_of_the_dataclasses() -> None:
    values = dict(leaves(composed("data=folder", "data.root=/x", "cluster=slurm")))
    chosen = {"data.source": "folder", "data.root": "/x", "model.name": "cnn"}
    chosen |= {"cluster.kind": "slurm", "cache": "results/.cache", "name": None}
    rest = {key: value for key, value in leaves(DEFAULTS) if "learning_rate" not in key}
    assert {key: values[key] for key in rest} == rest | chosen
