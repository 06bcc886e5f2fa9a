"""Fake Slurm commands, with output recorded from a real cluster."""

from __future__ import annotations

import shlex
from pathlib import Path

from xray_hpc.records.run_record import user_name

RECORDED = Path(__file__).parent / "slurm" / "recorded"


class FakeSlurm:
    """Slurm's commands in a folder; they print recorded output.

    Partitions: ``main`` (the default, all nodes), ``short`` (36 hours; node1), ``big`` (account
    lungs only; node2), ``physicists``, ``closed`` (down), ``ended`` (drained), ``fast`` (QOS urgent
    only, 4 CPUs and 8000 MB). Nodes: node1 (2 GPUs, 8 CPUs, 40000 MB), node2 (4 a100 and 2
    v100, 64 CPUs, 500000 MB), node3 (no GPU, 16 CPUs, 64000 MB). The user has the accounts lab (the
    default), lungs and root.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cases: dict[str, list[str]] = {}
        self.answer("sbatch", "*")
        for entity, file in (("config", "config"), ("partition", "partitions"), ("node", "nodes")):
            self.answer("scontrol", f"*show {entity}", self.recorded(f"{file}.txt"))
        self.answer("sacctmgr", "*parentname*", self.recorded("accounts.txt"))
        self.answer("sacctmgr", "*defaultqos*", self.recorded("associations.txt"))
        self.answer("sacctmgr", "*show qos*", self.recorded("qos.txt"))
        self.answer("sacctmgr", "*defaultaccount*", self.recorded("default_account.txt"))
        self.answer("squeue", "*", self.recorded("queue.txt"))

    user = user_name()

    def recorded(self, name: str) -> str:
        """Return a recorded output, with the name of this user."""
        return (RECORDED / name).read_text().replace("{user}", user_name())

    def answer(self, program: str, words: str, text: str = "", *, code: int = 0) -> None:
        """Make a command print ``text`` for arguments that match a shell pattern."""
        output = f"printf %s {shlex.quote(text)}" + (" >&2" if code else "")
        self.act(program, words, f"{output}; exit {code}")

    def act(self, program: str, words: str, command: str) -> None:
        """Make a command run a line of bash for arguments that match a shell pattern."""
        self._cases.setdefault(program, []).insert(0, f"{words.replace(' ', '?')}) {command} ;;")
        cases = "\n".join(self._cases[program])
        file = self._folder / program
        file.write_text(f'#!/bin/bash\ncase "$*" in\n{cases}\nesac\n')
        file.chmod(0o755)
