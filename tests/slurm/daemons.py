"""The daemons of one throw-away cluster: starting them, asking them, ending them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.slurm.configuration import search_path
from tests.slurm.processes import alive, kill_and_wait


class ClusterError(Exception):
    """The cluster could not be brought up; the message says why."""


class Daemons:
    """The daemons whose pid files, logs and configuration lie in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self._database = f"MYSQL_UNIX_PORT={folder}/mysql.socket"
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> None:
        """Start a daemon that puts itself into the background.

        Raises:
            ClusterError: it did not come up; the message ends with the logs.
        """
        if self._open(command, command[0]).wait() != 0:
            raise ClusterError(f"{command[0]} did not start\n{self._logs()}")

    def spawn(self, name: str, *command: str) -> None:
        """Start a process that stays in the foreground, and write ``<name>.pid`` for it."""
        child = self._open(command, name)
        self._children.append(child)
        (self.folder / f"{name}.pid").write_text(f"{child.pid}\n")

    def _open(self, command: Sequence[str], name: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log" / f"{name}.out").open("ab") as out:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self._environment(),
                cwd="/",
                start_new_session=True,
            )

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, env=self._environment(), timeout=60
        )

    def tell(self, *command: str) -> None:
        """Run a command that must succeed.

        Raises:
            ClusterError: it did not; the message is what it said.
        """
        done = self.ask(*command)
        if done.returncode != 0:
            raise ClusterError(f"{' '.join(command)}: {done.stdout}{done.stderr}")

    def until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until ``holds()``.

        Raises:
            ClusterError: it does not after ``seconds``; the message ends with the logs.
        """
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise ClusterError(f"waited {seconds:g} s for {what}\n{self._logs()}")
            time.sleep(0.02)

    def pid(self, name: str) -> int | None:
        """The process of ``<name>.pid``, if it still runs and is one of this folder's."""
        try:
            pid = int((self.folder / f"{name}.pid").read_text())
            process = Path("/proc") / str(pid)
            command = (process / "cmdline").read_bytes().decode(errors="replace")
            environment = (process / "environ").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            return None
        # slurmdbd takes no argument that would name the folder.
        ours = str(self.folder) in command or self._database in environment.split("\0")
        return pid if ours else None

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """End the daemon of a pid file, if it runs, and wait until it is gone."""
        pid = self.pid(name)
        if pid is not None:
            os.kill(pid, number)
            self.until(lambda: not alive(pid), 30, f"{name} to end")

    def kill_all(self) -> None:
        """``kill -9`` whatever of the folder's runs, except this very process."""
        running = {self.pid(file.stem) for file in self.folder.glob("*.pid")}
        kill_and_wait(pid for pid in running if pid is not None and pid != os.getpid())
        while self._children:
            self._children.pop().wait()

    def _environment(self) -> dict[str, str]:
        name, _, socket = self._database.partition("=")
        path = {"PATH": search_path(), "LANG": "C.UTF-8"}
        return path | {"SLURM_CONF": str(self.conf), name: socket}

    def _logs(self) -> str:
        tails = []
        for log in sorted((self.folder / "log").glob("*")):
            lines = log.read_text(errors="replace").splitlines()[-8:]
            tails += [f"--- {log.name}", *lines]
        return "\n".join(tails)
