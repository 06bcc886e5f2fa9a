from __future__ import annotations

import dataclasses

import pytest

from tests.conftest import Composer
from xray_hpc.errors import ConfigError
from xray_hpc.launching.preflight import tensorboard_installed
from xray_hpc.launching.preflight.tensorboard_installed import check_tensorboard


def test_tensorboard_must_be_installed_where_runs_write_event_files(
    composer: Composer, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = composer.plan(["seed=1"], ["seed=2", "train.tensorboard=true"])
    check_tensorboard(plan)
    monkeypatch.setattr(tensorboard_installed, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="not installed; install it: pip install tensorboard"):
        check_tensorboard(plan)
    check_tensorboard(composer.plan(["seed=1"]))
    cluster = dataclasses.replace(plan.settings.cluster, python="/opt/python")
    settings = dataclasses.replace(plan.settings, cluster=cluster)
    check_tensorboard(dataclasses.replace(plan, settings=settings))
