"""Slurm's programs, with answers that were recorded from a real cluster."""

from __future__ import annotations

import shlex
from pathlib import Path

from xray_hpc.records.run_record import user_name

RECORDED = Path(__file__).parent / "slurm" / "recorded"


class Site:
    """A cluster to ask, in the place of any there is.

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
