"""How many jobs the cluster takes, and how an array is split to fit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.launching.preflight.resource_request import Demand, runs_demand
from xray_hpc.records.run_record import user_name
from xray_hpc.slurm.client import query
from xray_hpc.slurm.sacctmgr import Accounting, is_enforced, read_accounting
from xray_hpc.slurm.scontrol import Partition, partitions, settings

ARRAY_INDEX = 1001  # Slurm's default
QUEUE = {"user": "%u", "account": "%a", "qos": "%q", "partition": "%P"}


@dataclass(frozen=True)
class Limits:
    """What the cluster allows: ``None`` where there is no limit or it is not known.

    An array's indices are below ``array_index``; ``submit`` is how many more jobs this user may
    submit now, a task of an array counted as one.
    """

    array_index: int
    submit: int | None


@dataclass(frozen=True)
class Part:
    """The tasks ``start`` to ``stop`` - 1, submitted as one array.

    ``throttle`` is how many of them may run at once; ``after`` is the position among the parts of
    the one that must have ended before this one starts.
    """

    start: int
    stop: int
    throttle: int | None
    after: int | None


def limits(cluster: ClusterConfig) -> Limits:
    """Ask the cluster for its limits, those of accounting where they hold and it answers.

    Raises:
        SlurmUnavailableError: Slurm does not answer.
    """
    said = settings()
    submit = None
    if is_enforced(said, "limits") and (allowed := read_accounting(said)) is not None:
        found = list(_ceilings(allowed, runs_demand(cluster), partitions()))
        submit = _room(found) if found else None
    size = said.get("MaxArraySize", "")
    return Limits(int(size) if size.isdigit() else ARRAY_INDEX, submit)


@dataclass(frozen=True)
class _Ceiling:
    """No more than ``most`` jobs whose column ``what`` in the queue is one of ``of[what]``."""

    most: int
    of: Mapping[str, Collection[str]]


def _ceilings(
    allowed: Accounting, demand: Demand, known: Mapping[str, Partition]
) -> Iterator[_Ceiling]:
    """The limits that hold for a job of this user's that asks as ``demand`` says."""
    user, account = {user_name().lower()}, demand.account or allowed.default_account
    names = demand.partitions or tuple(name for name, at in known.items() if at.default)
    for name in names:
        association = allowed.association(account, name.lower())
        if association is not None and association.submit is not None:
            yield _Ceiling(association.submit, {"user": user, "account": {account}})
        if qos := allowed.qos_of(demand.qos, association):
            yield from _of_qos(allowed, qos, user, account, {"qos": {qos}})
        if name in known and (qos := known[name].qos):
            yield from _of_qos(allowed, qos.lower(), user, account, {"partition": {name.lower()}})
    for above in allowed.lineage(account):
        if (most := allowed.accounts[above].submit) is not None:
            below = {name for name in allowed.accounts if above in allowed.lineage(name)}
            yield _Ceiling(most, {"account": below})


def _of_qos(
    allowed: Accounting, name: str, user: set[str], account: str, of: Mapping[str, set[str]]
) -> Iterator[_Ceiling]:
    if (qos := allowed.qos.get(name)) is None:
        return
    if qos.user_submit is not None:
        yield _Ceiling(qos.user_submit, {**of, "user": user})
    if qos.account_submit is not None:
        yield _Ceiling(qos.account_submit, {**of, "account": {account}})
    if qos.submit is not None:
        yield _Ceiling(qos.submit, of)


def _room(ceilings: Collection[_Ceiling]) -> int:
    """How many jobs are left below all of these, with what is in the queue now.

    Raises:
        SlurmUnavailableError: ``squeue`` does not answer.
    """
    mine = ["--me"] if all("user" in ceiling.of for ceiling in ceilings) else []
    columns = "|".join(QUEUE.values())
    text = query(["squeue", "--noheader", "--array", "--all", f"--format={columns}", *mine])
    queue = [dict(zip(QUEUE, line.lower().split("|"), strict=False)) for line in text.splitlines()]

    def counted(ceiling: _Ceiling) -> int:
        return sum(all(job.get(k) in v for k, v in ceiling.of.items()) for job in queue)

    return max(0, min(ceiling.most - counted(ceiling) for ceiling in ceilings))


def split(tasks: int, *, array_size: int, parallel: int | None) -> list[Part]:
    """Split an array of ``tasks`` into parts of ``array_size`` tasks or fewer.

    Where ``parallel`` limits how many run at once, the parts form lanes that go side by side, each
    with its share of the limit; a part waits for the one before it in its lane. A lane's share of
    the tasks is its share of the limit, so that all end at about the same time.
    """
    if parallel is None:
        return _lane(0, tasks, array_size, None, 0)
    parallel = min(parallel, tasks)
    lanes = min(-(-tasks // array_size), parallel)
    parts: list[Part] = []
    before = 0
    for lane in range(lanes):
        throttle = parallel // lanes + (lane < parallel % lanes)
        start, stop = (tasks * share // parallel for share in (before, before + throttle))
        parts += _lane(start, stop, array_size, throttle, len(parts))
        before += throttle
    return parts


def _lane(start: int, stop: int, size: int, throttle: int | None, position: int) -> list[Part]:
    """Parts of ``size`` tasks, the first at ``position`` among all; with a throttle, a chain."""
    begins = range(start, stop, size)
    afters = [None if throttle is None or not i else position + i - 1 for i in range(len(begins))]
    return [
        Part(begin, min(begin + size, stop), throttle, after)
        for begin, after in zip(begins, afters, strict=True)
    ]
