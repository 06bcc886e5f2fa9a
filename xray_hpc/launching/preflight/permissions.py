"""Whether a job may run at all: its partition, account and QOS exist and go together."""

from __future__ import annotations

import contextlib
import grp
import os
from collections.abc import Iterable, Mapping

from xray_hpc.errors import ConfigError, nearest, one_of
from xray_hpc.launching.preflight.resource_request import Demand
from xray_hpc.records.run_record import user_name
from xray_hpc.slurm.sacctmgr import Accounting, Association, is_enforced
from xray_hpc.slurm.scontrol import Partition

REFUSING = ("DRAIN", "INACTIVE")


def partitions(
    demand: Demand,
    there: Mapping[str, Partition],
    settings: Mapping[str, str],
    allowed: Accounting | None,
) -> list[Partition]:
    """Those of the partitions that a job names that take it, the default one where it names none.

    ``settings`` are those of ``scontrol show config``.

    Raises:
        UserError: a partition, the account or the QOS does not exist, or this user may not use it;
            or the time is longer than is allowed.
    """
    named = [_partition(name, demand, there) for name in demand.partitions or [None]]
    if allowed is not None:
        _check_account(demand, settings, allowed)
    problems = [_problem(partition, demand, settings, allowed) for partition in named]
    usable = [at for at, problem in zip(named, problems, strict=True) if problem is None]
    if not usable:
        raise ConfigError(str(problems[0]))
    return usable


def _partition(name: str | None, demand: Demand, there: Mapping[str, Partition]) -> Partition:
    key = demand.keys["partition"]
    if name is not None:
        if name not in there:
            raise ConfigError(one_of(key, name, there))
        return there[name]
    default = next((partition for partition in there.values() if partition.default), None)
    if default is None:
        choices = ", ".join(sorted(there))
        raise ConfigError(f"the cluster has no default partition; set {key} (valid: {choices})")
    return default


def _check_account(demand: Demand, settings: Mapping[str, str], allowed: Accounting) -> None:
    account, qos = demand.account, demand.qos
    mine = {association.account for association in allowed.mine}
    # Where PrivateData hides accounts or users, either list may lack what this user has.
    if account is not None and account not in {*allowed.accounts, *mine}:
        raise ConfigError(one_of(demand.keys["account"], account, mine or allowed.accounts))
    if qos is not None and qos not in allowed.qos:
        raise ConfigError(one_of(demand.keys["qos"], qos, allowed.qos))
    if is_enforced(settings, "associations") and (account or allowed.default_account) not in mine:
        what = "submit jobs" if account is None else f"use {demand.keys['account']} '{account}'"
        has = f"valid: {', '.join(sorted(mine))}" if mine else "Slurm's accounting has no account"
        raise ConfigError(f"user {user_name()} may not {what} ({has})")


def _problem(
    partition: Partition,
    demand: Demand,
    settings: Mapping[str, str],
    allowed: Accounting | None,
) -> str | None:
    """Why the partition does not take the job; ``None`` where it does."""
    if partition.state in REFUSING:
        return f"partition '{partition.name}' takes no jobs now ({partition.state}); use another"
    most, of = partition.minutes, f"partition '{partition.name}'"
    accounts: list[str] = [] if demand.account is None else [demand.account]
    qos = demand.qos
    if allowed is not None:
        account = demand.account or allowed.default_account
        association = allowed.association(account, partition.name.lower())
        # Newer Slurms take an account's children for it; older ones say it at the submission.
        accounts = list(allowed.lineage(account))
        qos = allowed.qos_of(qos, association)
        if problem := _qos_problem(demand, association, settings):
            return problem
        if qos is not None and qos in allowed.qos and is_enforced(settings, "limits"):
            limits = allowed.qos[qos]
            if "partitiontimelimit" in limits.flags:
                most = None
            if limits.minutes is not None and (most is None or limits.minutes < most):
                most, of = limits.minutes, f"QOS '{qos}'"
    if demand.time is not None and most is not None and demand.time > most:
        return (
            f"{demand.keys['time']} is {demand.time} minutes, more than {of} allows; "
            f"use {most} or less"
        )
    return (
        _excluded(partition, "Groups", _groups(), f"user {user_name()}'s groups")
        or _excluded(partition, "Accounts", accounts, demand.keys["account"])
        or _excluded(partition, "Qos", [qos] if qos else [], demand.keys["qos"])
    )


def _qos_problem(
    demand: Demand, association: Association | None, settings: Mapping[str, str]
) -> str | None:
    if demand.qos is None or association is None or not is_enforced(settings, "qos"):
        return None
    if demand.qos in association.qos:
        return None
    choices = sorted(association.qos)
    return (
        f"{demand.keys['qos']} '{demand.qos}' is not for account {association.account}"
        f"{nearest(demand.qos, choices)} (valid: {', '.join(choices)})"
    )


def _excluded(partition: Partition, what: str, names: Iterable[str], whose: str) -> str | None:
    """Why the partition is not for these names; ``None`` where it is, or where none is known."""
    names = list(names)
    allowed, denied = partition.allowed.get(what), partition.denied.get(what, frozenset())
    lower = {name.lower() for name in names}
    if names and allowed is not None and not lower & {name.lower() for name in allowed}:
        valid = f"allowed: {', '.join(sorted(allowed))}"
    elif names and names[0].lower() in {name.lower() for name in denied}:
        valid = f"all but {', '.join(sorted(denied))}"
    else:
        return None
    given = "" if what == "Groups" else f" '{names[0]}'"
    return f"partition '{partition.name}' is not for {whose}{given} ({valid})"


def _groups() -> list[str]:
    """The names of this user's groups."""
    names = []
    for number in {os.getegid(), *os.getgroups()}:
        with contextlib.suppress(KeyError):  # a group without a name
            names.append(grp.getgrgid(number).gr_name)
    return names
