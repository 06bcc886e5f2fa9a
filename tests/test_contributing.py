"""The example of a new experiment in CONTRIBUTING.md."""

from __future__ import annotations

import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from xray_hpc.config.hydra_app import to_mapping
from xray_hpc.launching.resolve_run import RunResolver
from xray_hpc.models.registry import MODELS, ModelSpec
from xray_hpc.package_folders import resource

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
SECTION = TEXT[TEXT.index("## A sixth experiment") : TEXT.index("## Commits")]
BLOCKS = dict(re.findall(r"```(?:python|yaml)\n# (\S+?),?(?: [^\n]*)?\n(.*?)```", SECTION, re.S))


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/ with the new files; the new model is registered."""
    shutil.copytree(resource("conf"), tmp_path / "conf")
    for name, body in BLOCKS.items():
        if name.startswith("conf/"):
            (tmp_path / name).write_text(body)
    entries = "{" + BLOCKS["xray_hpc/models/registry.py"] + "}"
    (entry,) = eval(entries, {"ModelSpec": ModelSpec}).items()
    monkeypatch.setitem(MODELS, *entry)
    module = types.ModuleType("xray_hpc.models.tiny")
    exec(BLOCKS["xray_hpc/models/tiny.py"], module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return tmp_path / "conf"


def test_example_takes_less_than_30_lines() -> None:
    assert sum(len([line for line in body.splitlines() if line]) for body in BLOCKS.values()) < 30
    assert len(BLOCKS) == 4


def test_example_composes_builds_and_predicts(conf: Path, tmp_path: Path) -> None:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        values = to_mapping(compose("config", ["experiment=sixth"]))
    run, _ = RunResolver(tmp_path / "cache").resolve(values)
    assert run.name.startswith("tiny-")
    assert run.config.train.balance == "class_weights"

    from xray_hpc.models.build_model import build_model

    for size in (run.config.data.input_size, MODELS["tiny"].minimum):
        model = build_model(run.config.model, (size, size, 1), 2)
        assert model(np.zeros((2, size, size, 1))).shape == (2, 1)
