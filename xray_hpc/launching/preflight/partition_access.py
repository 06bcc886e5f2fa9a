"""Check that a job's partition, account and QOS exist and allow the job."""

from __future__ import annotations

import contextlib
import grp
import os
from collections.abc import Iterable, Mapping

from xray_hpc.errors import ConfigError, nearest, one_of
from xray_hpc.launching.preflight.resource_request import ResourceRequest
from xray_hpc.records.run_record import user_name
from xray_hpc.slurm.sacctmgr import Accounting, Association, is_enforced
from xray_hpc.slurm.scontrol import Partition

CLOSED_STATES = ("DRAIN", "INACTIVE")


def usable_partitions(
    request: ResourceRequest,
    partitions: Mapping[str, Partition],
    settings: Mapping[str, str],
    accounting: Accounting | None,
) -> list[Partition]:
    """Return the requested partitions (or the default one) that accept the job.

    Args:
        settings: Slurm's settings, as ``scontrol show config`` prints them.

    Raises:
        ConfigError: a partition, the account or the QOS does not exist or is not for this user,
            or the time limit is above the allowed one.
    """
    named = [_partition(name, request, partitions) for name in request.partitions or [None]]
    if accounting is not None:
        _check_account(request, settings, accounting)
    problems = [_problem(partition, request, settings, accounting) for partition in named]
    usable = [part for part, problem in zip(named, problems, strict=True) if problem is None]
    if not usable:
        raise ConfigError(str(problems[0]))
    return usable


def _partition(
    name: str | None, request: ResourceRequest, partitions: Mapping[str, Partition]
) -> Partition:
    """Return the partition ``name``, or the cluster's default one."""
    key = request.keys["partition"]
    if name is not None:
        if name not in partitions:
            raise ConfigError(one_of(key, name, partitions))
        return partitions[name]
    default = next((partition for partition in partitions.values() if partition.default), None)
    if default is None:
        choices = ", ".join(sorted(partitions))
        raise ConfigError(f"the cluster has no default partition; set {key} (valid: {choices})")
    return default


def _check_account(
    request: ResourceRequest, settings: Mapping[str, str], accounting: Accounting
) -> None:
    """Raise ``ConfigError`` unless the account and the QOS exist and the user may submit."""
    account, qos = request.account, request.qos
    mine = {association.account for association in accounting.mine}
    # PrivateData may hide accounts or users, so either list alone can be incomplete.
    if account is not None and account not in {*accounting.accounts, *mine}:
        raise ConfigError(one_of(request.keys["account"], account, mine or accounting.accounts))
    if qos is not None and qos not in accounting.qos:
        raise ConfigError(one_of(request.keys["qos"], qos, accounting.qos))
    own = (account or accounting.default_account) in mine
    if not own and is_enforced(settings, "associations"):
        what = "submit jobs" if account is None else f"use {request.keys['account']} '{account}'"
        has = f"valid: {', '.join(sorted(mine))}" if mine else "Slurm's accounting has no account"
        raise ConfigError(f"user {user_name()} may not {what} ({has})")


def _problem(
    partition: Partition,
    request: ResourceRequest,
    settings: Mapping[str, str],
    accounting: Accounting | None,
) -> str | None:
    """Return why the partition does not accept the job, or ``None`` if it does."""
    if partition.state in CLOSED_STATES:
        return f"partition '{partition.name}' accepts no jobs now ({partition.state}); use another"
    limit, source = partition.minutes, f"partition '{partition.name}'"
    accounts, qos = [request.account] if request.account else [], request.qos
    if accounting is not None:
        account = request.account or accounting.default_account
        association = accounting.association(account, partition.name.lower())
        # Newer Slurm releases accept the children of an allowed account; older ones refuse them
        # at submission.
        accounts = list(accounting.lineage(account))
        qos = accounting.qos_of(qos, association)
        if problem := _qos_problem(request, association, settings):
            return problem
        if qos is not None and qos in accounting.qos and is_enforced(settings, "limits"):
            limits = accounting.qos[qos]
            if "partitiontimelimit" in limits.flags:
                limit = None
            if limits.minutes is not None and (limit is None or limits.minutes < limit):
                limit, source = limits.minutes, f"QOS '{qos}'"
    if limit is not None and request.time > limit:
        given = f"{request.keys['time']} is {request.time} minutes"
        return f"{given}, above the limit of {source}; use {limit} or less"
    return (
        _excluded(partition, "Groups", _groups(), f"user {user_name()}'s groups")
        or _excluded(partition, "Accounts", accounts, request.keys["account"])
        or _excluded(partition, "Qos", [qos] if qos else [], request.keys["qos"])
    )


def _qos_problem(
    request: ResourceRequest, association: Association | None, settings: Mapping[str, str]
) -> str | None:
    """Return why the user's association does not allow the QOS, or ``None`` if it does."""
    qos = request.qos
    if qos is None or association is None or not is_enforced(settings, "qos"):
        return None
    if qos in association.qos:
        return None
    choices = sorted(association.qos)
    hint = f"{nearest(qos, choices)} (valid: {', '.join(choices)})"
    key, account = request.keys["qos"], association.account
    return f"{key} '{qos}' is not allowed for account {account}{hint}"


def _excluded(partition: Partition, what: str, names: Iterable[str], whose: str) -> str | None:
    """Return why the partition excludes these groups, accounts or QOS; ``None`` if it does not."""
    names = list(names)
    allowed, denied = partition.allowed.get(what), partition.denied.get(what, frozenset())
    lower = {name.lower() for name in names}
    if names and allowed is not None and not lower & {name.lower() for name in allowed}:
        valid = f"allowed: {', '.join(sorted(allowed))}"
    elif names and names[0].lower() in {name.lower() for name in denied}:
        valid = f"all except {', '.join(sorted(denied))}"
    else:
        return None
    given = "" if what == "Groups" else f" '{names[0]}'"
    return f"partition '{partition.name}' does not allow {whose}{given} ({valid})"


def _groups() -> list[str]:
    """Return the names of this user's groups."""
    names = []
    for number in {os.getegid(), *os.getgroups()}:
        with contextlib.suppress(KeyError):  # a group without a name
            names.append(grp.getgrgid(number).gr_name)
    return names
