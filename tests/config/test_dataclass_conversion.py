from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.config.dataclass_conversion import build
from xray_hpc.config.train_config import TrainConfig
from xray_hpc.config.yaml_files import read_yaml, to_yaml
from xray_hpc.errors import ConfigError, UserError


def test_build_accepts_lists_and_mappings() -> None:
    values = {"kind": "slurm", "setup": ["module load cuda"], "extra": {"nice": 100}, "time": "1-0"}
    config = build(ClusterConfig, values)
    assert config.setup == ("module load cuda",)
    assert config.extra == {"nice": 100}


@pytest.mark.parametrize("text", ["off", "'off'"])
def test_build_accepts_an_unquoted_off(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"{{epochs: 1, batch_size: 1, learning_rate: 0.1, features: {text}}}")
    config = build(TrainConfig, read_yaml(file))
    assert config.features == "off"
    file.write_text(to_yaml(asdict(config)))
    assert build(TrainConfig, read_yaml(file)) == config


def test_yaml_keeps_special_characters(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    values = {"kind": "slurm", "partition": "it's $(here), yes: 1e-5 #", "setup": ["ä: [b"]}
    config = build(ClusterConfig, values)
    file.write_text(to_yaml(asdict(config)), encoding="utf-8")
    assert build(ClusterConfig, read_yaml(file)) == config


@given(value=st.floats(min_value=1e-12, max_value=1e3))
def test_yaml_keeps_floats(value: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "rate.yaml"
    file.write_text(to_yaml({"rate": value}))
    assert read_yaml(file) == {"rate": value}


ALIASES = "a0: &a0 [1]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize("text", ["- 1\n", "a: [", "\x00", "a: " + "9" * 5000, ALIASES])
def test_read_yaml_names_the_invalid_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"config.yaml"):
        read_yaml(file)


@given(root=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])))
def test_yaml_keeps_any_text(root: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "name.yaml"
    file.write_text(to_yaml({"root": root}), encoding="utf-8")
    assert read_yaml(file) == {"root": root}


def test_text_that_is_not_utf8_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"'/scans/\\udcff' is not UTF-8"):
        to_yaml({"data": {"root": os.fsdecode(b"/scans/\xff")}})
