"""A throw-away Slurm cluster on this one machine, for the tests.

Three virtual nodes (one slurmd each) with 8 CPUs and 2 pretend GPUs each, a slurmctld and a munged,
all from Debian's packages (see install.sh) and all under one folder of their own in /run. A site's
/etc/slurm, munge key and running daemons are neither read nor touched. It needs root.

Tests use it through the fixtures of conftest.py. By hand:

    python tests/slurm/cluster.py start     # prints the line that makes sbatch and srun use it
    python tests/slurm/cluster.py status
    python tests/slurm/cluster.py stop

Several clusters can live side by side (two test sessions at once): each has a slot, and the slot
gives the folder, the ports and the names of the nodes. A lock on the slot lasts as long as the
session that took it, so what is found in a slot without a holder is a leftover and is removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import configuration
from configuration import GPUS, search_path
from processes import job_processes, kill_and_wait, remove_cgroups

ROOT = Path("/run/xray-hpc-slurm")
PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
TEST_SLOTS = range(9)
HAND_SLOT = 9

NODES = 3


class ClusterError(Exception):
    """The cluster could not be brought up; the message says why."""


class Cluster:
    """The cluster of one slot.

    ``folder`` holds everything it writes; ``conf`` is what ``SLURM_CONF`` must name for Slurm's
    commands to speak to it; ``nodes`` are the names of its nodes.
    """

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.folder = ROOT / str(slot)
        self.conf = self.folder / "slurm.conf"
        self.nodes = [f"xray{10 * slot + i}" for i in range(1, NODES + 1)]
        self.port = 17_000 + 10 * slot
        self._lock: int | None = None
        self._reaper: subprocess.Popen[bytes] | None = None

    @classmethod
    def claim(cls) -> Cluster:
        """The cluster of the first slot that nobody holds; clears what dead sessions left.

        Raises:
            ClusterError: every slot is held.
        """
        mine: Cluster | None = None
        for slot in TEST_SLOTS:
            cluster = cls(slot)
            if not cluster._take():
                continue
            cluster._clear()
            if mine is None:
                mine = cluster
            else:
                cluster._release()
        if mine is None:
            raise ClusterError(f"{len(TEST_SLOTS)} test clusters run on this machine already")
        return mine

    @property
    def running(self) -> bool:
        return self._pid("slurmctld") is not None

    def start(self) -> None:
        """Bring the cluster up and wait until every node is idle.

        Raises:
            ClusterError: a daemon did not come up; the message ends with its log.
        """
        if os.geteuid() != 0:
            raise ClusterError("a Slurm cluster of its own needs root")
        missing = missing_programs()
        if missing:
            raise ClusterError(f"not installed: {', '.join(missing)} (run tests/slurm/install.sh)")
        self._clear()
        try:
            self._write()
            if self._lock is not None:
                self._watch()
            self._start_daemons()
        except BaseException:
            self._clear()
            raise

    def stop(self) -> None:
        """End the daemons and every job, and remove the folder. Safe to call at any time."""
        self._clear()
        self._release()

    def nodes_idle(self) -> bool:
        done = self._client("sinfo", "-h", "-N", "-o", "%N %T")
        states = dict(line.split() for line in done.stdout.splitlines())
        return (
            done.returncode == 0 and [states.get(node) for node in self.nodes] == ["idle"] * NODES
        )

    # Starting

    def _write(self) -> None:
        for name in ("state", "log", "gpu", *(f"spool/{node}" for node in self.nodes)):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge").mkdir(mode=0o755)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(128))
        for index in range(GPUS):
            # Slurm hands out a GPU only if it is a device. 195 is the number of NVIDIA's driver;
            # where that is not loaded, opening the file fails, as it should for a pretence.
            device = os.makedev(195, index)
            os.mknod(self.folder / "gpu" / f"gpu{index}", stat.S_IFCHR | 0o666, device)
        configuration.write(self.folder, self.slot, self.port, NODES)

    def _watch(self) -> None:
        """Start the process that removes the cluster if this one is killed before it can."""
        command = [sys.executable, __file__, "reap", str(self.folder)]
        self._reaper = self._spawn(command, "reaper")
        (self.folder / "reaper.pid").write_text(f"{self._reaper.pid}\n")

    def _start_daemons(self) -> None:
        munge = self.folder / "munge"
        self._daemon(
            "munged",
            f"--socket={munge}/socket",
            f"--key-file={munge}/key",
            f"--pid-file={self.folder}/munged.pid",
            f"--log-file={self.folder}/log/munged.log",
            f"--seed-file={munge}/seed",
        )
        ask_munge = ("munge", "-n", f"--socket={munge}/socket")
        self._until(lambda: self._client(*ask_munge).returncode == 0, 10, "munge to answer")
        self._daemon("slurmctld", "-c", "-f", str(self.conf))
        for node in self.nodes:
            self._daemon("slurmd", "-f", str(self.conf), "-N", node)
        self._until(self.nodes_idle, 30, "all nodes to be idle")

    def _daemon(self, *command: str) -> None:
        if self._spawn(command, command[0]).wait() != 0:
            raise ClusterError(f"{command[0]} did not start\n{self._logs()}")

    def _spawn(self, command: tuple[str, ...] | list[str], name: str) -> subprocess.Popen[bytes]:
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

    def _client(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, env=self._environment(), timeout=60
        )

    def _environment(self) -> dict[str, str]:
        return {"PATH": search_path(), "SLURM_CONF": str(self.conf), "LANG": "C.UTF-8"}

    def _until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise ClusterError(f"waited {seconds:g} s for {what}\n{self._logs()}")
            time.sleep(0.02)

    def _logs(self) -> str:
        tails = []
        for log in sorted((self.folder / "log").glob("*")):
            lines = log.read_text(errors="replace").splitlines()[-8:]
            tails += [f"--- {log.name}", *lines]
        return "\n".join(tails)

    # Stopping

    def _clear(self) -> None:
        """Kill outright: nothing of a throw-away cluster is worth the seconds of a clean end."""
        if not self.folder.exists():
            return
        daemons = {self._pid(file.stem) for file in self.folder.glob("*.pid")}
        kill_and_wait(pid for pid in daemons if pid is not None and pid != os.getpid())
        if self._reaper is not None:
            self._reaper.wait()
            self._reaper = None
        # The daemons are gone, so no new job process appears while these are collected.
        kill_and_wait(job_processes(self.conf, self.nodes))
        remove_cgroups(self.nodes)
        shutil.rmtree(self.folder)

    def _pid(self, name: str) -> int | None:
        """The process of a pid file, if it still runs and is one of this folder's."""
        try:
            pid = int((self.folder / f"{name}.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            return None
        return pid if str(self.folder) in command else None

    # The lock of a slot

    def _take(self, wait: bool = False) -> bool:
        ROOT.mkdir(mode=0o755, exist_ok=True)
        lock = os.open(ROOT / f"{self.slot}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def missing_programs() -> list[str]:
    """Those of Slurm's and munge's programs that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]


def main(arguments: list[str]) -> int:
    cluster = Cluster(HAND_SLOT)
    match arguments:
        case ["start"]:
            begin = time.monotonic()
            try:
                cluster.start()
            except ClusterError as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
            print(f"{NODES} nodes idle after {time.monotonic() - begin:.1f} s; to use it:")
            print(f"export SLURM_CONF={cluster.conf}")
        case ["stop"]:
            cluster.stop()
        case ["status"]:
            running = [found for slot in range(10) if (found := Cluster(slot)).running]
            for found in running:
                print(f"SLURM_CONF={found.conf}\n{found._client('sinfo', '-N', '-l').stdout}")
            if not running:
                print("no test cluster runs on this machine")
        case ["reap", folder]:
            watched = Cluster(int(Path(folder).name))
            watched._take(wait=True)
            watched.stop()
        case _:
            print("usage: cluster.py start|stop|status", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
