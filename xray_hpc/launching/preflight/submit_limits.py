"""Query how many jobs this user may submit, and how large an array may be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from xray_hpc.config.cluster_config import ClusterConfig
from xray_hpc.launching.preflight.resource_request import ResourceRequest, gpu_request
from xray_hpc.records.run_record import user_name
from xray_hpc.slurm.client import query
from xray_hpc.slurm.sacctmgr import Accounting, Qos, is_enforced, read_accounting
from xray_hpc.slurm.scontrol import Partition, partitions, settings

DEFAULT_ARRAY_SIZE = 1001
QUEUE_COLUMNS = {"user": "%u", "account": "%a", "qos": "%q", "partition": "%P"}


@dataclass(frozen=True)
class SubmitLimits:
    """The cluster's limits on submissions.

    Attributes:
        array_size: Slurm's ``MaxArraySize``; array indices are below it.
        jobs_left: how many more jobs (or array tasks) this user may submit now; ``None`` for no
            limit, or an unknown one.
    """

    array_size: int
    jobs_left: int | None


def query_submit_limits(cluster: ClusterConfig) -> SubmitLimits:
    """Return the cluster's limits, with those of accounting where Slurm enforces them.

    Raises:
        SlurmUnavailableError: Slurm does not answer.
    """
    config = settings()
    jobs_left = None
    if is_enforced(config, "limits") and (accounting := read_accounting(config)) is not None:
        ceilings = list(_ceilings(accounting, gpu_request(cluster), partitions()))
        jobs_left = _jobs_left(ceilings) if ceilings else None
    size = config.get("MaxArraySize", "")
    return SubmitLimits(int(size) if size.isdigit() else DEFAULT_ARRAY_SIZE, jobs_left)


@dataclass(frozen=True)
class _Ceiling:
    """At most ``most`` jobs whose queue columns have one of the values in ``columns``."""

    most: int
    columns: Mapping[str, Collection[str]]


def _ceilings(
    accounting: Accounting, request: ResourceRequest, known: Mapping[str, Partition]
) -> Iterator[_Ceiling]:
    """Yield the limits that apply to a job of this user with this request."""
    user, account = {user_name().lower()}, request.account or accounting.default_account
    names = request.partitions or tuple(name for name, at in known.items() if at.default)
    for name in names:
        association = accounting.association(account, name.lower())
        if association is not None and association.submit is not None:
            yield _Ceiling(association.submit, {"user": user, "account": {account}})
        qos = accounting.qos_of(request.qos, association) or ""
        yield from _qos_ceilings(accounting.qos.get(qos), user, account, {"qos": {qos}})
        qos = (known[name].qos or "").lower() if name in known else ""
        columns = {"partition": {name.lower()}}
        yield from _qos_ceilings(accounting.qos.get(qos), user, account, columns)
    for above in accounting.lineage(account):
        if (most := accounting.accounts[above].submit) is not None:
            below = {name for name in accounting.accounts if above in accounting.lineage(name)}
            yield _Ceiling(most, {"account": below})


def _qos_ceilings(
    qos: Qos | None, user: set[str], account: str, columns: Mapping[str, set[str]]
) -> Iterator[_Ceiling]:
    """Yield the limits of a QOS, on jobs with these queue columns."""
    if qos is None:
        return
    if qos.user_submit is not None:
        yield _Ceiling(qos.user_submit, {**columns, "user": user})
    if qos.account_submit is not None:
        yield _Ceiling(qos.account_submit, {**columns, "account": {account}})
    if qos.submit is not None:
        yield _Ceiling(qos.submit, columns)


def _jobs_left(ceilings: Collection[_Ceiling]) -> int:
    """Return how many more jobs all ceilings allow, given the current queue."""
    mine = ["--me"] if all("user" in ceiling.columns for ceiling in ceilings) else []
    columns = "|".join(QUEUE_COLUMNS.values())
    text = query(["squeue", "--noheader", "--array", "--all", f"--format={columns}", *mine])
    lines = (line.lower().split("|") for line in text.splitlines())
    queue = [dict(zip(QUEUE_COLUMNS, line, strict=False)) for line in lines]

    def counted(ceiling: _Ceiling) -> int:
        return sum(all(job.get(k) in v for k, v in ceiling.columns.items()) for job in queue)

    return max(0, min(ceiling.most - counted(ceiling) for ceiling in ceilings))
