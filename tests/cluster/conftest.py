from __future__ import annotations

import sys
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

# Under --import-mode=importlib a test folder's own modules are not importable by themselves.
sys.path.insert(0, str(Path(__file__).parent))

from making import Programs

from xray_hpc.cluster.associations import user_name
from xray_hpc.cluster.plan import Plan, make_plan

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
    """Makes plans of overrides, as Hydra would hand them over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def values(self, *words: str) -> dict[str, Any]:
        """The configuration with ``key=value`` words put in; values are read as Python's."""
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
    """Slurm's commands, none of which is there yet."""
    return Programs(tmp_path / "bin", monkeypatch)


RECORDED = Path(__file__).parent / "recorded"


class Site:
    """Slurm's programs, earlier in PATH, with answers recorded from a real cluster.

    Its partitions: ``main`` (the default, all nodes), ``short`` (36 hours; node1), ``big`` (account
    lungs only; node2), ``physicists``, ``closed`` (down), ``ended`` (drained), ``fast`` (QOS urgent
    only, 4 CPUs and 8000 MB). Its nodes: node1 (2 GPUs, 8 CPUs, 40000 MB), node2 (4 a100 and 2
    v100, 64 CPUs, 500000 MB), node3 (no GPU, 16 CPUs, 64000 MB). Its user has the accounts lab (the
    default one), lungs and root.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cases: dict[str, list[str]] = {}
        self.answer("sbatch", "*")
        for what in ("config", "partition", "node"):
            file = f"{what}s.txt" if what != "config" else "config.txt"
            self.answer("scontrol", f"*show {what}", self.recorded(file))
        self.answer("sacctmgr", "*parentname*", self.recorded("accounts.txt"))
        self.answer("sacctmgr", "*defaultqos*", self.recorded("associations.txt"))
        self.answer("sacctmgr", "*show qos*", self.recorded("qos.txt"))
        self.answer("sacctmgr", "*defaultaccount*", self.recorded("default_account.txt"))
        self.answer("squeue", "*", self.recorded("queue.txt"))

    user = user_name()

    def recorded(self, name: str) -> str:
        """A recorded answer, with this user's name."""
        return (RECORDED / name).read_text().replace("{user}", user_name())

    def answer(self, program: str, words: str, text: str = "", *, code: int = 0) -> None:
        """Let a program say ``text`` to words that match a shell pattern."""
        said = f"printf %s {shlex.quote(text)}" + (" >&2" if code else "")
        self.act(program, words, f"{said}; exit {code}")

    def act(self, program: str, words: str, command: str) -> None:
        """Let a program run a line of bash for words that match a shell pattern."""
        self._cases.setdefault(program, []).insert(0, f"{words.replace(' ', '?')}) {command} ;;")
        cases = "\n".join(self._cases[program])
        file = self._folder / program
        file.write_text(f'#!/bin/bash\ncase "$*" in\n{cases}\nesac\n')
        file.chmod(0o755)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A Slurm cluster to ask, in the place of any there is."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SBATCH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return Site(programs)
