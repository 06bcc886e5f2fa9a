"""Accounts, QOS and limits of this user in Slurm's accounting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from xray_hpc.errors import SlurmError
from xray_hpc.records.run_record import user_name
from xray_hpc.slurm.client import run_command
from xray_hpc.slurm.units import parse_minutes, parse_number

TIMEOUT_SECONDS = 5.0
ASSOCIATION = "account,partition,maxsubmit,grpsubmit,qos,defaultqos"
QOS = "name,maxsubmitjobsperuser,maxsubmitjobsperaccount,grpsubmitjobs,maxwall,flags"


@dataclass(frozen=True)
class Account:
    """An account; ``submit`` limits the jobs that its users together may have submitted."""

    parent: str
    submit: int | None


@dataclass(frozen=True)
class Association:
    """The association of a user with an account, in all partitions or in one."""

    account: str
    partition: str
    submit: int | None
    qos: tuple[str, ...]
    default_qos: str


@dataclass(frozen=True)
class Qos:
    """A QOS, with its limits of submitted jobs per user, per account and in total."""

    user_submit: int | None
    account_submit: int | None
    submit: int | None
    minutes: int | None
    flags: frozenset[str]


@dataclass(frozen=True)
class Accounting:
    """The accounting data of one user; names are in lower case, as in Slurm."""

    accounts: Mapping[str, Account]
    mine: tuple[Association, ...]
    qos: Mapping[str, Qos]
    default_account: str

    def lineage(self, account: str) -> Iterator[str]:
        """Yield the account and its ancestors."""
        while account in self.accounts:
            yield account
            account = self.accounts[account].parent

    def association(self, account: str, partition: str) -> Association | None:
        """Return the association of a job; ``None`` if the user may not submit it."""
        matches = [a for a in self.mine if a.account == account and a.partition in ("", partition)]
        return max(matches, key=lambda match: match.partition, default=None)

    def qos_of(self, asked: str | None, association: Association | None) -> str | None:
        """Return the QOS of a job that requests ``asked``; ``None`` if it is unknown."""
        if asked is not None or association is None:
            return asked
        if association.default_qos or len(association.qos) == 1:
            return association.default_qos or association.qos[0]
        return "normal" if "normal" in association.qos else None


def read_accounting(settings: Mapping[str, str]) -> Accounting | None:
    """Return this user's accounting; ``settings`` is the output of ``scontrol show config``.

    ``None`` if ``sacctmgr`` is slow or fails.
    """
    if not settings.get("AccountingStorageType", "").endswith("slurmdbd"):
        return None
    user, cluster = user_name(), f"cluster={settings.get('ClusterName')}"
    queries = (
        ("assoc", "where", cluster, "user=", "format=account,parentname,grpsubmit"),
        ("assoc", "where", cluster, f"user={user}", f"format={ASSOCIATION}"),
        ("qos", f"format={QOS}"),
        ("user", user, "format=user,defaultaccount"),
    )
    try:
        with ThreadPoolExecutor(len(queries)) as pool:  # each query takes a quarter of a second
            accounts, mine, qos, default = pool.map(_show, queries)
    except SlurmError:
        return None
    return Accounting(
        {row[0]: Account(row[1], parse_number(row[2])) for row in accounts},
        tuple(_read_association(*row) for row in mine),
        {row[0]: _read_qos(*row[1:]) for row in qos},
        next((account for name, account in default if name == user.lower()), ""),
    )


def is_enforced(settings: Mapping[str, str], what: str) -> bool:
    """Return whether Slurm enforces ``associations``, ``limits`` or ``qos``."""
    words = set(settings.get("AccountingStorageEnforce", "").lower().split(","))
    implied = {"associations": {"limits", "qos", "safe", "wckeys"}, "limits": {"safe"}}
    return bool(words & ({what, "all"} | implied.get(what, set())))


def _show(words: Sequence[str]) -> list[list[str]]:
    """Return the rows of ``sacctmgr show``; ignore lines with another number of columns."""
    columns = words[-1].count(",") + 1
    command = ["sacctmgr", "--noheader", "--parsable2", "--readonly", "show", *words]
    output = run_command(command, timeout=TIMEOUT_SECONDS)
    rows = [line.lower().split("|") for line in output.splitlines()]
    return [row for row in rows if len(row) == columns and row[0]]


def _read_association(
    account: str, partition: str, most: str, group: str, qos: str, default_qos: str
) -> Association:
    limits = [limit for limit in (parse_number(most), parse_number(group)) if limit is not None]
    names = tuple(name for name in qos.split(",") if name)
    return Association(account, partition, min(limits, default=None), names, default_qos)


def _read_qos(user: str, account: str, group: str, wall: str, flags: str) -> Qos:
    limits = parse_number(user), parse_number(account), parse_number(group)
    return Qos(*limits, parse_minutes(wall), frozenset(flags.split(",")))
