"""What Slurm is told about the throw-away cluster: slurm.conf, gres.conf and cgroup.conf."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

from processes import CONTROLLERS

GPUS = 2
CPUS = 8
# More than the machine has, so that a job that asks for an ordinary node's memory can be placed.
MEMORY_MB = 40_000

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"

SLURM_CONF = """\
ClusterName=test{slot}
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
RealMemory={memory} Gres=gpu:{gpus} Feature=drawn State=UNKNOWN
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


def write(folder: Path, slot: int, port: int, nodes: int) -> None:
    """Write the three files into ``folder``. The ports are ``port`` and one more a node."""
    names = f"xray[{10 * slot + 1}-{10 * slot + nodes}]"
    confined = cgroups_writable()
    text = SLURM_CONF.format(
        slot=slot,
        host=socket.gethostname().split(".")[0],
        folder=folder,
        port=port,
        ports=f"[{port + 1}-{port + nodes}]",
        nodes=names,
        cpus=CPUS,
        gpus=GPUS,
        memory=MEMORY_MB,
        memory_per_cpu=MEMORY_MB // CPUS,
        tracking=CONFINED if confined else UNCONFINED,
    )
    (folder / "slurm.conf").write_text(text)
    gres = f"AutoDetect=off\nNodeName={names} Name=gpu File={folder}/gpu/gpu[0-{GPUS - 1}]\n"
    (folder / "gres.conf").write_text(gres)
    if confined:
        cgroup = "CgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\nConstrainDevices=yes\n"
    elif slurm_version() >= (23, 11):
        cgroup = "CgroupPlugin=disabled\n"
    else:
        # Older ones cannot do without a plugin; this one loads where there are no cgroups.
        cgroup = "CgroupPlugin=cgroup/v1\n"
    (folder / "cgroup.conf").write_text(cgroup)


def slurm_version() -> tuple[int, ...]:
    """(22, 5) for Slurm 22.05."""
    # Of Slurm's programs only the daemons tell their version without a cluster.
    program = shutil.which("slurmctld", path=search_path()) or "slurmctld"
    shown = subprocess.run([program, "-V"], capture_output=True, text=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", shown)[:2])


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


def search_path() -> str:
    """PATH with the folders of daemons, which a user's often lacks."""
    return f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
