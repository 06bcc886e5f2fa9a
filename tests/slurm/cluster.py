"""A throw-away Slurm cluster on this one machine, for the tests.

Three virtual nodes (one slurmd each) with 8 CPUs and 2 pretend GPUs each, a slurmctld and a munged,
all from Debian's packages (see install.sh) and all under one folder of their own in /run. A site's
/etc/slurm, munge key and running daemons are neither read nor touched. It needs root. With
accounting there are a slurmdbd and a MariaDB too (see accounting.py).

Tests use it through the fixtures of conftest.py. By hand:

    python -m tests.slurm.cluster start     # prints the line that makes sbatch and srun use it
    python -m tests.slurm.cluster start accounting
    python -m tests.slurm.cluster status
    python -m tests.slurm.cluster stop

Several clusters can live side by side (two test sessions at once): each has a slot, and the slot
gives the folder, the ports and the names of the nodes. A lock on the slot lasts as long as the
session that took it, so what is found in a slot without a holder is a leftover and is removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

from tests.slurm import accounting, configuration
from tests.slurm.configuration import Size, search_path
from tests.slurm.daemons import ClusterError, Daemons
from tests.slurm.processes import job_processes, kill_and_wait, remove_cgroups

ROOT = Path("/run/xray-hpc-slurm")
PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
HAND_SLOT = 9
THREE_NODES = Size()
# Ten ports a slot: one a node, slurmctld's and slurmdbd's.
MOST_NODES = 8
TEST_SLOTS = [slot for slot in range(16) if slot != HAND_SLOT]


class Cluster:
    """The cluster of one slot.

    ``folder`` holds everything it writes; ``conf`` is what ``SLURM_CONF`` must name for Slurm's
    commands to speak to it; ``nodes`` are the names of its nodes.
    """

    def __init__(self, slot: int, size: Size = THREE_NODES, *, accounting: bool = False) -> None:
        if not 0 < size.nodes <= MOST_NODES:
            raise ClusterError(f"{size.nodes} nodes; a slot has ports for 1 to {MOST_NODES}")
        self.slot = slot
        self.size = size
        self.accounting = accounting
        self.folder = ROOT / str(slot)
        self.conf = self.folder / "slurm.conf"
        self.nodes = [f"xray{10 * slot + i}" for i in range(1, size.nodes + 1)]
        self._daemons = Daemons(self.folder)
        self._lock: int | None = None

    @classmethod
    def claim(cls, size: Size = THREE_NODES, *, accounting: bool = False) -> Cluster:
        """The cluster of the first slot that nobody holds; clears what dead sessions left.

        Raises:
            ClusterError: every slot is held.
        """
        mine: Cluster | None = None
        for slot in TEST_SLOTS:
            cluster = cls(slot, size, accounting=accounting)
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
        return self._daemons.pid("slurmctld") is not None

    def start(self) -> None:
        """Bring the cluster up and wait until every node is idle.

        Raises:
            ClusterError: a daemon did not come up; the message ends with its log.
        """
        if os.geteuid() != 0:
            raise ClusterError("a Slurm cluster of its own needs root")
        missing = missing_programs(self.accounting)
        if missing:
            raise ClusterError(
                f"not installed: {', '.join(missing)} ({installing(self.accounting)})"
            )
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
        done = self._daemons.ask("sinfo", "-h", "-N", "-o", "%N %T")
        states = dict(line.split() for line in done.stdout.splitlines())
        return done.returncode == 0 and {states.get(node) for node in self.nodes} == {"idle"}

    # Starting

    def _write(self) -> None:
        for name in ("state", "log", "gpu", *(f"spool/{node}" for node in self.nodes)):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge").mkdir(mode=0o755)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(128))
        for index in range(self.size.gpus):
            # Slurm hands out a GPU only if it is a device. 195 is the number of NVIDIA's driver;
            # where that is not loaded, opening the file fails, as it should for a pretence.
            device = os.makedev(195, index)
            os.mknod(self.folder / "gpu" / f"gpu{index}", stat.S_IFCHR | 0o666, device)
        port = 17_000 + 10 * self.slot
        configuration.write(self.folder, self.slot, port, self.size, accounting=self.accounting)

    def _watch(self) -> None:
        """Start the process that removes the cluster if this one is killed before it can."""
        path = f"PYTHONPATH={Path(__file__).parents[2]}"
        command = ("env", path, sys.executable, "-m", "tests.slurm.cluster", "reap")
        self._daemons.spawn("reaper", *command, str(self.folder))

    def _start_daemons(self) -> None:
        munge = self.folder / "munge"
        self._daemons.start(
            "munged",
            f"--socket={munge}/socket",
            f"--key-file={munge}/key",
            f"--pid-file={self.folder}/munged.pid",
            f"--log-file={self.folder}/log/munged.log",
            f"--seed-file={munge}/seed",
        )
        ask_munge = ("munge", "-n", f"--socket={munge}/socket")
        self._daemons.until(
            lambda: self._daemons.ask(*ask_munge).returncode == 0, 10, "munge to answer"
        )
        if self.accounting:
            accounting.start(self._daemons, f"test{self.slot}")
        self._daemons.start("slurmctld", "-c", "-f", str(self.conf))
        for node in self.nodes:
            self.start_node(node)
        self._daemons.until(self.nodes_idle, 30, "all nodes to be idle")

    # Faults

    def kill_node(self, node: str) -> None:
        """``kill -9`` the node's slurmd; its jobs live on. Slurm calls it down after some 25 s."""
        self._daemons.kill(f"slurmd-{node}")

    def start_node(self, node: str) -> None:
        """Start the node's slurmd; a node that was down is up again by that."""
        self._daemons.start("slurmd", "-f", str(self.conf), "-N", node)

    def down(self, node: str) -> None:
        """A node failure at once: its jobs are requeued, though what they run may live on."""
        update = ("scontrol", "update", f"nodename={node}", "reason=test")
        self._daemons.tell(*update, "state=down")
        # A living slurmd would bring the node up again by itself.
        self._daemons.tell(*update, "state=drain")

    def resume(self, node: str) -> None:
        """Take a node that was set down back."""
        self._daemons.tell("scontrol", "update", f"nodename={node}", "state=resume")

    def restore(self, node: str) -> None:
        """Put right what a test did to a node, if it did anything."""
        if self._daemons.pid(f"slurmd-{node}") is None:
            self.start_node(node)
        self._daemons.ask("scontrol", "update", f"nodename={node}", "state=resume")

    def stop_controller(self, number: int = signal.SIGTERM) -> None:
        """End slurmctld; with SIGKILL it forgets what was said to it in the last seconds."""
        self._daemons.kill("slurmctld", number)

    def start_controller(self) -> None:
        """Start slurmctld with what it wrote down, and wait until it answers."""
        self._daemons.start("slurmctld", "-f", str(self.conf))
        answers = ("scontrol", "ping")
        self._daemons.until(
            lambda: "is UP" in self._daemons.ask(*answers).stdout, 30, "slurmctld to answer"
        )

    # Stopping

    def _clear(self) -> None:
        """Kill outright: nothing of a throw-away cluster is worth the seconds of a clean end."""
        if not self.folder.exists():
            return
        self._daemons.kill_all()
        # The daemons are gone, so no new job process appears while these are collected.
        kill_and_wait(job_processes(self.conf, self.nodes))
        remove_cgroups(self.nodes)
        shutil.rmtree(self.folder)

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


def missing_programs(accounting_too: bool = False) -> list[str]:
    """Those of the programs that a cluster needs that are not installed."""
    programs = (*PROGRAMS, *accounting.PROGRAMS) if accounting_too else PROGRAMS
    return [name for name in programs if shutil.which(name, path=search_path()) is None]


def installing(accounting_too: bool = False) -> str:
    """What to do about programs that are missing."""
    return f"run tests/slurm/install.sh{' accounting' if accounting_too else ''}"


def start_by_hand(cluster: Cluster) -> int:
    begin = time.monotonic()
    try:
        cluster.start()
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - begin
    print(f"{len(cluster.nodes)} nodes idle after {seconds:.1f} s; to use it:")
    print(f"export SLURM_CONF={cluster.conf}")
    return 0


def show_running() -> None:
    running = [found for slot in (*TEST_SLOTS, HAND_SLOT) if (found := Cluster(slot)).running]
    for found in running:
        environment = os.environ | {"SLURM_CONF": str(found.conf)}
        shown = subprocess.run(
            ["sinfo", "-N", "-l"], env=environment, capture_output=True, text=True
        )
        print(f"SLURM_CONF={found.conf}\n{shown.stdout}")
    if not running:
        print("no test cluster runs on this machine")


def main(arguments: list[str]) -> int:
    match arguments:
        case ["start"]:
            return start_by_hand(Cluster(HAND_SLOT))
        case ["start", "accounting"]:
            return start_by_hand(Cluster(HAND_SLOT, accounting=True))
        case ["stop"]:
            Cluster(HAND_SLOT).stop()
        case ["status"]:
            show_running()
        case ["reap", folder]:
            watched = Cluster(int(Path(folder).name))
            watched._take(wait=True)
            watched.stop()
        case _:
            print("usage: cluster.py start [accounting]|stop|status", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
