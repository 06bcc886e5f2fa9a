"""Fixtures and settings of all tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.fake_slurm import FakeSlurm
from tests.run_folders import Programs
from xray_hpc.launching.plan import Plan, make_plan

# A shell's background jobs ignore SIGINT, and SIGHUP under nohup; processes that tests start would
# inherit that.
for number, handler in {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
}.items():
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

# The duration of an example depends on the machine more than on the code.
settings.register_profile("xray_hpc", deadline=None)
settings.load_profile("xray_hpc")

# These take minutes, mostly waiting; started first, they leave no CPU idle at the end.
FIRST = (
    *(
        "slurm/test_exact_resume",
        "slurm/test_launch",
        "slurm/test_status_and_cancel",
        "slurm/test_experiments",
    ),
    *("training/test_kills", "training/test_strategy", "training/test_changed_replicas"),
    *("training/test_same_answer", "training/test_experiments"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = [f"tests/{name}.py" for name in FIRST]

    def place(item: pytest.Item) -> int:
        file = item.nodeid.partition("::")[0]
        return names.index(file) if file in names else len(names)

    items.sort(key=place)


CONFIG: dict[str, Any] = {
    "data": {
        "source": "demo",
        "root": None,
        "image_size": 32,
        "channels": 1,
        "split": "patient",
        "validation_fraction": 0.2,
        "split_seed": 42,
        "demo_images": 60,
        "demo_seed": 0,
    },
    "model": {
        "name": "ft",
        "backbone": "demo",
        "weights": "none",
        "unfreeze": 4,
        "preprocessing": "auto",
        "head_units": 8,
        "head_dropout": 0.1,
    },
    "augment": {"zoom": 0.1, "height_shift": 0.1, "width_shift": 0.1, "fill_mode": "reflect"},
    "train": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "learning_rates": {"ft": 1e-3}},
    "seed": 42,
    "cluster": {"kind": "local"},
    "name": None,
}


class Composer:
    """Makes plans from overrides, as Hydra would pass them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def values(self, *words: str) -> dict[str, Any]:
        """Return the configuration with ``key=value`` overrides applied."""
        values = {key: dict(v) if isinstance(v, dict) else v for key, v in CONFIG.items()}
        values |= {"results": str(self.folder), "cache": str(self.folder / ".cache")}
        for word in words:
            key, _, text = word.partition("=")
            node, _, leaf = key.rpartition(".")
            value: Any = {"null": None, "true": True, "false": False}.get(text, text)
            for kind in (float, int):
                try:
                    value = kind(text)
                except ValueError:
                    continue
            (values[node] if node else values)[leaf] = value
        return values

    def plan(self, *jobs: list[str]) -> Plan:
        return make_plan([(job, self.values(*job)) for job in jobs], default_name="sweep")


@pytest.fixture
def composer(tmp_path: Path) -> Composer:
    return Composer(tmp_path)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Fake Slurm commands; none exists yet."""
    return Programs(tmp_path / "bin", monkeypatch)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A Slurm cluster to ask, in the place of any there is."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SBATCH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return FakeSlurm(programs)
