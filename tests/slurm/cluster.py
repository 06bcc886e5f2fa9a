"""A throw-away Slurm cluster on this machine, for the tests.

It has three virtual nodes (one slurmd each) with 8 CPUs and 2 fake GPUs each, a slurmctld and a
munged, from Debian's packages (see install.sh), in a folder of their own in /run. It does not use a
site's /etc/slurm, munge key or daemons. It requires root. With accounting there are a slurmdbd and
a MariaDB too (see accounting.py).

Tests use it through the fixtures of conftest.py. From a shell:

    python -m tests.slurm.cluster start     # prints the variable that sbatch and srun need
    python -m tests.slurm.cluster start accounting
    python -m tests.slurm.cluster status
    python -m tests.slurm.cluster stop

Several clusters can run at once, for parallel test sessions: each has a slot, which determines its
folder, ports and node names. A session holds a lock on its slot; whatever is in a slot without a
lock is left over from a killed session and is removed.
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

from tests.slurm import accounting, config_files
from tests.slurm.config_files import Size, search_path
from tests.slurm.daemons import ClusterError, Daemons
from tests.slurm.processes import job_processes, kill_and_wait, remove_cgroups

ROOT = Path("/run/xray-hpc-slurm")
PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
MANUAL_SLOT = 9
THREE_NODES = Size()
# A slot has ten ports: one per node, slurmctld's and slurmdbd's.
MAX_NODES = 8
TEST_SLOTS = [slot for slot in range(16) if slot != MANUAL_SLOT]


class Cluster:
    """The cluster of one slot.

    Attributes:
        folder: everything that the cluster writes.
        conf: the value of ``SLURM_CONF`` for Slurm's commands.
        nodes: the names of its nodes.
    """

    def __init__(self, slot: int, size: Size = THREE_NODES, *, accounting: bool = False) -> None:
        if not 0 < size.nodes <= MAX_NODES:
            raise ClusterError(f"{size.nodes} nodes; a slot has ports for 1 to {MAX_NODES}")
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
        """Return the cluster of the first free slot; remove what killed sessions left.

        Raises:
            ClusterError: no slot is free.
        """
        claimed: Cluster | None = None
        for slot in TEST_SLOTS:
            cluster = cls(slot, size, accounting=accounting)
            if not cluster._lock_slot():
                continue
            cluster._clear()
            if claimed is None:
                claimed = cluster
            else:
                cluster._release()
        if claimed is None:
            raise ClusterError(f"{len(TEST_SLOTS)} test clusters run on this machine already")
        return claimed

    @property
    def running(self) -> bool:
        return self._daemons.pid("slurmctld") is not None

    def start(self) -> None:
        """Start the cluster and wait until every node is idle.

        Raises:
            ClusterError: it runs already, or a daemon did not start; the message ends with its log.
        """
        if os.geteuid() != 0:
            raise ClusterError("only root can start a Slurm cluster")
        missing = missing_programs(self.accounting)
        if missing:
            raise ClusterError(
                f"not installed: {', '.join(missing)} ({install_hint(self.accounting)})"
            )
        if self.running:
            raise ClusterError(f"it runs already, with SLURM_CONF={self.conf}; use or stop it")
        self._clear()
        try:
            self._write_files()
            if self._lock is not None:
                self._start_reaper()
            self._start_daemons()
        except BaseException:
            self._clear()
            raise

    def stop(self) -> None:
        """Kill the daemons and every job, and remove the folder. Safe to call at any time."""
        self._clear()
        self._release()

    def nodes_idle(self) -> bool:
        done = self._daemons.run("sinfo", "-h", "-N", "-o", "%N %T")
        states = dict(line.split() for line in done.stdout.splitlines())
        return done.returncode == 0 and {states.get(node) for node in self.nodes} == {"idle"}

    # Starting

    def _write_files(self) -> None:
        for name in ("state", "log", "gpu", *(f"spool/{node}" for node in self.nodes)):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge").mkdir(mode=0o755)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(128))
        for index in range(self.size.gpus):
            # Slurm requires a GPU's file to be a device. 195 is the number of NVIDIA's driver;
            # without that driver, opening the file fails, as it should for a fake GPU.
            device = os.makedev(195, index)
            os.mknod(self.folder / "gpu" / f"gpu{index}", stat.S_IFCHR | 0o666, device)
        port = 17_000 + 10 * self.slot
        config_files.write_config(
            self.folder, self.slot, port, self.size, accounting=self.accounting
        )

    def _start_reaper(self) -> None:
        """Start a process that removes the cluster if this one is killed."""
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
        munge_works = ("munge", "-n", f"--socket={munge}/socket")
        self._daemons.wait_until(
            lambda: self._daemons.run(*munge_works).returncode == 0, 10, "munge to answer"
        )
        if self.accounting:
            accounting.start(self._daemons, f"test{self.slot}")
        self._daemons.start("slurmctld", "-c", "-f", str(self.conf))
        for node in self.nodes:
            self.start_node(node)
        self._daemons.wait_until(self.nodes_idle, 30, "all nodes to be idle")

    # Faults

    def kill_node(self, node: str) -> None:
        """``kill -9`` the node's slurmd; its jobs survive. Slurm marks it down after about 25 s."""
        self._daemons.kill(f"slurmd-{node}")

    def start_node(self, node: str) -> None:
        """Start the node's slurmd, which also brings a node up that was down."""
        self._daemons.start("slurmd", "-f", str(self.conf), "-N", node)

    def set_down(self, node: str) -> None:
        """Fail a node immediately: Slurm requeues its jobs, whose processes may survive."""
        update = ("scontrol", "update", f"nodename={node}", "reason=test")
        self._daemons.check_run(*update, "state=down")
        # A running slurmd would bring the node up again.
        self._daemons.check_run(*update, "state=drain")

    def resume(self, node: str) -> None:
        """Bring a node up again that was set down."""
        self._daemons.check_run("scontrol", "update", f"nodename={node}", "state=resume")

    def restore(self, node: str) -> None:
        """Undo what a test did to a node."""
        if self._daemons.pid(f"slurmd-{node}") is None:
            self.start_node(node)
        self._daemons.run("scontrol", "update", f"nodename={node}", "state=resume")

    def stop_controller(self, number: int = signal.SIGTERM) -> None:
        """Stop slurmctld; with SIGKILL it loses the commands of the last seconds."""
        self._daemons.kill("slurmctld", number)

    def start_controller(self) -> None:
        """Start slurmctld with its saved state, and wait until it answers."""
        self._daemons.start("slurmctld", "-f", str(self.conf))
        ping = ("scontrol", "ping")
        self._daemons.wait_until(
            lambda: "is UP" in self._daemons.run(*ping).stdout, 30, "slurmctld to answer"
        )

    # Stopping

    def _clear(self) -> None:
        """Kill all processes and remove the folder; a clean shutdown would take seconds."""
        if not self.folder.exists():
            return
        self._daemons.kill_all()
        # Without daemons, no new job process appears while these are listed.
        kill_and_wait(job_processes(self.conf, self.nodes))
        remove_cgroups(self.nodes)
        shutil.rmtree(self.folder)

    # The lock of a slot

    def _lock_slot(self, wait: bool = False) -> bool:
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
    """Return the required programs that are not installed."""
    programs = (*PROGRAMS, *accounting.PROGRAMS) if accounting_too else PROGRAMS
    return [name for name in programs if shutil.which(name, path=search_path()) is None]


def install_hint(accounting_too: bool = False) -> str:
    """Return how to install missing programs."""
    return f"run tests/slurm/install.sh{' accounting' if accounting_too else ''}"


def start_from_shell(cluster: Cluster) -> int:
    """Start the cluster and print how to use it; return the exit code."""
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
    """Print the nodes of all running test clusters."""
    running = [found for slot in (*TEST_SLOTS, MANUAL_SLOT) if (found := Cluster(slot)).running]
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
            return start_from_shell(Cluster(MANUAL_SLOT))
        case ["start", "accounting"]:
            return start_from_shell(Cluster(MANUAL_SLOT, accounting=True))
        case ["stop"]:
            Cluster(MANUAL_SLOT).stop()
        case ["status"]:
            show_running()
        case ["reap", folder]:
            orphan = Cluster(int(Path(folder).name))
            orphan._lock_slot(wait=True)
            orphan.stop()
        case _:
            print("usage: cluster.py start [accounting]|stop|status", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
