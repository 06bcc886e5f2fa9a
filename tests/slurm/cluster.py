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

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path("/run/xray-hpc-slurm")
PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
TEST_SLOTS = range(9)
HAND_SLOT = 9

NODES = 3
GPUS = 2
CPUS = 8
# More than the machine has, so that a job that asks for an ordinary node's memory can be placed.
MEMORY_MB = 40_000

CONTROLLERS = ("freezer", "memory", "devices", "cpuset")
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"

SLURM_CONF = """\
ClusterName=xray{slot}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
# cred_expire is also how long a requeued job waits before it may start again; Slurm's own is 120.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdSpoolDir={folder}/spool/%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/log/%n.log
MailProg=/bin/true
MpiDefault=none
PropagateResourceLimits=NONE
{tracking}
JobAcctGatherFrequency=task=5

# config_overrides: the nodes may claim more CPUs and memory than the machine has.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# Without it a job takes a whole node's memory, and jobs run one after another.
DefMemPerCPU={memory_per_cpu}
GresTypes=gpu

# Quick answers.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=2
SlurmctldParameters=preempt_send_user_signal
SlurmctldTimeout=30
SlurmdTimeout=10
KillWait=5
InactiveLimit=0
ReturnToService=2
JobRequeue=1
# Finished jobs stay in squeue and scontrol for an hour: there is no accounting to ask.
MinJobAge=3600
MaxArraySize=1001
AccountingStorageType=accounting_storage/none

# A job in "high" requeues jobs of "main" where it needs their place.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={nodes} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports} CPUs={cpus} \
RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES DefaultTime=60 MaxTime=INFINITE PriorityTier=1
PartitionName=high Nodes=ALL Default=NO DefaultTime=60 MaxTime=INFINITE PriorityTier=10 \
PreemptMode=OFF
"""

CONFINED = """\
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
JobAcctGatherType=jobacct_gather/cgroup"""

UNCONFINED = """\
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux"""


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
        self.nodes = [f"node{10 * slot + i}" for i in range(1, NODES + 1)]
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
        numbers = f"[{10 * self.slot + 1}-{10 * self.slot + NODES}]"
        confined = cgroups_writable()
        text = SLURM_CONF.format(
            slot=self.slot,
            host=socket.gethostname().split(".")[0],
            folder=self.folder,
            port=self.port,
            ports=f"[{self.port + 1}-{self.port + NODES}]",
            nodes=f"node{numbers}",
            cpus=CPUS,
            gpus=GPUS,
            memory=MEMORY_MB,
            memory_per_cpu=MEMORY_MB // CPUS,
            tracking=CONFINED if confined else UNCONFINED,
        )
        self.conf.write_text(text)
        gres = f"AutoDetect=off\nNodeName=node{numbers} Name=gpu File={self.folder}/gpu/gpu"
        (self.folder / "gres.conf").write_text(f"{gres}[0-{GPUS - 1}]\n")
        if confined:
            cgroup = "CgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\nConstrainDevices=yes\n"
            (self.folder / "cgroup.conf").write_text(cgroup)
        elif slurm_version() >= (23, 11):
            (self.folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")

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
        names = ["reaper", "slurmctld", *(f"slurmd-{node}" for node in self.nodes), "munged"]
        pids = [pid for name in names if (pid := self._pid(name)) is not None]
        pids = [pid for pid in pids if pid != os.getpid()]
        kill_and_wait(pids)
        if self._reaper is not None:
            self._reaper.wait()
            self._reaper = None
        # The daemons are gone, so no new job process appears while these are collected.
        kill_and_wait(self._job_processes())
        self._remove_cgroups()
        shutil.rmtree(self.folder)

    def _pid(self, name: str) -> int | None:
        """The process of a pid file, if it still runs and is one of this folder's."""
        try:
            pid = int((self.folder / f"{name}.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            return None
        return pid if str(self.folder) in command else None

    def _job_processes(self) -> list[int]:
        """The slurmstepds of this cluster, all below them, and what sits in its cgroups."""
        conf = f"SLURM_CONF={self.conf}".encode()
        parents = parent_of_processes()
        found = set(self._cgroup_processes())
        for pid in parents:
            with contextlib.suppress(OSError):
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                step = b"slurmstepd" in Path(f"/proc/{pid}/comm").read_bytes()
                in_job = any(item.startswith(b"SLURM_JOB_ID=") for item in environment)
                if conf in environment and (step or in_job):
                    found.add(pid)
        grown = True
        while grown:
            below = {pid for pid, parent in parents.items() if parent in found} - found
            found |= below
            grown = bool(below)
        return sorted(found - {os.getpid(), os.getppid(), 0, 1})

    def _cgroup_folders(self) -> Iterator[Path]:
        for controller in CONTROLLERS:
            for node in self.nodes:
                top = Path("/sys/fs/cgroup") / controller / f"slurm_{node}"
                yield from sorted((path for path in top.glob("**/") if path.is_dir()), reverse=True)

    def _cgroup_processes(self) -> Iterator[int]:
        for folder in self._cgroup_folders():
            with contextlib.suppress(OSError):
                yield from map(int, (folder / "cgroup.procs").read_text().split())

    def _remove_cgroups(self) -> None:
        for folder in self._cgroup_folders():
            with contextlib.suppress(OSError):
                folder.rmdir()

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


def slurm_version() -> tuple[int, ...]:
    """(22, 5) for Slurm 22.05."""
    # Of Slurm's programs only the daemons tell their version without a cluster.
    program = shutil.which("slurmctld", path=search_path()) or "slurmctld"
    shown = subprocess.run([program, "-V"], capture_output=True, text=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", shown)[:2])


def search_path() -> str:
    """PATH with the folders of daemons, which a user's often lacks."""
    return f"{os.environ.get('PATH', os.defpath)}:{SBIN}"


def cgroups_writable() -> bool:
    """Whether jobs can be confined: cgroup v1 (or hybrid), writable here."""
    for controller in CONTROLLERS:
        probe = Path("/sys/fs/cgroup") / controller / f"xray_hpc_probe_{os.getpid()}"
        try:
            probe.mkdir()
            probe.rmdir()
        except OSError:
            return False
    return True


def parent_of_processes() -> dict[int, int]:
    """Process id -> parent's id, of every process on the machine."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # "pid (name) state parent ...", and a name may hold spaces and brackets
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    return parents


def kill_and_wait(pids: list[int], seconds: float = 5.0) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.01)


def alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


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
