"""Start, query and stop the daemons of one throw-away cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.slurm.config_files import search_path
from tests.slurm.processes import alive, kill_and_wait


class ClusterError(Exception):
    """The cluster did not start; the message gives the reason."""


class Daemons:
    """The daemons whose pid files, logs and configuration are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self._database = f"MYSQL_UNIX_PORT={folder}/mysql.socket"
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> None:
        """Start a daemon that runs in the background.

        Raises:
            ClusterError: it did not start; the message ends with the logs.
        """
        if self._open(command, command[0]).wait() != 0:
            raise ClusterError(f"{command[0]} did not start\n{self._logs()}")

    def spawn(self, name: str, *command: str) -> None:
        """Start a process in the foreground, and write its ``<name>.pid``."""
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

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, env=self._environment(), timeout=300
        )

    def check_run(self, *command: str) -> None:
        """Run a command that must succeed.

        Raises:
            ClusterError: it failed; the message has its output.
        """
        done = self.run(*command)
        if done.returncode != 0:
            raise ClusterError(f"{' '.join(command)}: {done.stdout}{done.stderr}")

    def wait_until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until ``condition()`` is true.

        Raises:
            ClusterError: it is still false after ``seconds``; the message ends with the logs.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise ClusterError(f"waited {seconds:g} s for {what}\n{self._logs()}")
            time.sleep(0.02)

    def pid(self, name: str) -> int | None:
        """Return the process id in ``<name>.pid`` if that is a running process of this cluster."""
        try:
            pid = int((self.folder / f"{name}.pid").read_text())
            process = Path("/proc") / str(pid)
            command = (process / "cmdline").read_bytes().decode(errors="replace")
            environment = (process / "environ").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            return None
        # slurmdbd has no argument that names the folder.
        ours = str(self.folder) in command or self._database in environment.split("\0")
        return pid if ours else None

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the daemon of a pid file, if it runs, and wait until it has ended."""
        pid = self.pid(name)
        if pid is not None:
            os.kill(pid, number)
            self.wait_until(lambda: not alive(pid), 30, f"{name} to end")

    def kill_all(self) -> None:
        """``kill -9`` all processes of the cluster, except this one."""
        running = {self.pid(file.stem) for file in self.folder.glob("*.pid")}
        kill_and_wait(pid for pid in running if pid is not None and pid != os.getpid())
        while self._children:
            self._children.pop().wait()

    def _environment(self) -> dict[str, str]:
        name, _, socket = self._database.partition("=")
        path = {"PATH": search_path(), "LANG": "C.UTF-8"}
        return path | {"SLURM_CONF": str(self.conf), name: socket}

    def _logs(self) -> str:
        excerpts = []
        for log in sorted((self.folder / "log").glob("*")):
            lines = log.read_text(errors="replace").splitlines()[-8:]
            excerpts += [f"--- {log.name}", *lines]
        return "\n".join(excerpts)
