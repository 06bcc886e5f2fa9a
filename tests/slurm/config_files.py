"""Write the configuration files of the throw-away cluster."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.slurm.processes import CONTROLLERS

# More than the machine has, so that requests for an ordinary node's memory fit.
MEMORY_MB = 40_000
# The time between the signal to a preempted job of partition "graced" and its end.
GRACE_SECONDS = 10

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Size:
    """The pretended size of the cluster; CPUs and GPUs are per node."""

    nodes: int = 3
    cpus: int = 8
    gpus: int = 2
    max_array_size: int = 1001


SLURM_CONF = """\
ClusterName=test{slot}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
# cred_expire is also how long a requeued job waits before it may start again; the default is 120.
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
# Without it a job gets a whole node's memory, and jobs run one after another.
DefMemPerCPU={memory_per_cpu}
GresTypes=gpu

# Schedule quickly.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=2
SlurmctldParameters=preempt_send_user_signal
SlurmctldTimeout=30
SlurmdTimeout=10
KillWait=5
InactiveLimit=0
ReturnToService=2
JobRequeue=1
# squeue and scontrol show finished jobs for an hour, so that tests need no accounting.
MinJobAge=3600
MaxArraySize={max_array_size}
{accounting}

# A job in "high" preempts (requeues) jobs of "main" and "graced".
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={nodes} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports} CPUs={cpus} \
RealMemory={memory} Gres=gpu:{gpus} Feature=drawn State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES DefaultTime=60 MaxTime=INFINITE PriorityTier=1
PartitionName=graced Nodes=ALL Default=NO DefaultTime=60 MaxTime=INFINITE PriorityTier=1 \
GraceTime={grace}
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


NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none"

ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={host}
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations,limits,qos"""

SLURMDBD_CONF = """\
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
"""


def write_config(folder: Path, slot: int, port: int, size: Size, *, accounting: bool) -> None:
    """Write the files into ``folder``; the ports from ``port`` on are slurmctld's, the nodes' and
    slurmdbd's.
    """
    names = f"xray[{10 * slot + 1}-{10 * slot + size.nodes}]"
    host = socket.gethostname().split(".")[0]
    database = {"folder": folder, "host": host, "port": port + size.nodes + 1}
    confined = cgroups_writable()
    text = SLURM_CONF.format(
        slot=slot,
        host=host,
        folder=folder,
        port=port,
        ports=f"[{port + 1}-{port + size.nodes}]",
        nodes=names,
        cpus=size.cpus,
        gpus=size.gpus,
        memory=MEMORY_MB,
        memory_per_cpu=MEMORY_MB // size.cpus,
        tracking=CONFINED if confined else UNCONFINED,
        max_array_size=size.max_array_size,
        accounting=ACCOUNTING.format(**database) if accounting else NO_ACCOUNTING,
        grace=GRACE_SECONDS,
    )
    (folder / "slurm.conf").write_text(text)
    gres = f"NodeName={names} Name=gpu File={folder}/gpu/gpu[0-{size.gpus - 1}]\n"
    (folder / "gres.conf").write_text(f"AutoDetect=off\n{gres}")
    if accounting:
        # slurmdbd refuses a file that other users can read.
        (folder / "slurmdbd.conf").touch(mode=0o600)
        (folder / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(**database))
    if confined:
        cgroup = "CgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\nConstrainDevices=yes\n"
    elif slurm_version() >= (23, 11):
        cgroup = "CgroupPlugin=disabled\n"
    else:
        # Older releases require a plugin; this one loads without cgroups.
        cgroup = "CgroupPlugin=cgroup/v1\n"
    (folder / "cgroup.conf").write_text(cgroup)


def slurm_version() -> tuple[int, ...]:
    """Return the installed version, such as (22, 5) for Slurm 22.05."""
    # Only the daemons print their version without a cluster.
    program = shutil.which("slurmctld", path=search_path()) or "slurmctld"
    shown = subprocess.run([program, "-V"], capture_output=True, text=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", shown)[:2])


def cgroups_writable() -> bool:
    """Return whether jobs can be confined: cgroup v1 (or hybrid) exists and is writable."""
    for controller in CONTROLLERS:
        probe = Path("/sys/fs/cgroup") / controller / f"xray_hpc_probe_{os.getpid()}"
        try:
            probe.mkdir()
            probe.rmdir()
        except OSError:
            return False
    return True


def search_path() -> str:
    """Return PATH with the folders of daemons, which a user's PATH often lacks."""
    return f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
