"""What Slurm's controller says of its settings, its partitions and its nodes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from xray_hpc.config.cluster_config import minutes
from xray_hpc.slurm.client import query

_NAME = re.compile(r"(?:^|(?<=\s))([A-Z][A-Za-z0-9_:/]*)=")
_GPUS = re.compile(r"(?:^|,)gpu(?::([^:,]+))?:(\d+)(?=,|$)")
_GONE = {"DOWN", "DRAIN", "DRAINED", "DRAINING", "FAIL", "FAILING", "ERROR", "INVAL", "FUTURE"}
_NOTHING = ("", "(null)", "N/A", "NONE")


@dataclass(frozen=True)
class Partition:
    """A partition. ``allowed`` and ``denied`` are names by what they are of.

    Those are ``Groups``, ``Accounts`` and ``Qos``; where any name is allowed, there is no entry.
    ``minutes``, ``cpus`` and ``megabytes`` (of a node) are the most that a job gets, ``None``
    where there is no limit. ``qos`` is the partition's own, whose limits hold in it.
    """

    name: str
    default: bool
    state: str
    minutes: int | None
    cpus: int | None
    megabytes: int | None
    qos: str | None
    allowed: Mapping[str, frozenset[str]]
    denied: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Node:
    """A node and what a job can have of it; ``gpus`` counts them by type, "" where it has none."""

    name: str
    partitions: frozenset[str]
    features: frozenset[str]
    gpus: Mapping[str, int]
    cpus: int
    megabytes: int
    usable: bool


def settings() -> dict[str, str]:
    """What ``scontrol show config`` says, such as ``{"MaxArraySize": "1001"}``.

    Raises:
        SlurmUnavailableError: Slurm does not answer; so for the others here.
    """
    lines = (line.partition("=") for line in _show("config").splitlines())
    return {name.strip(): value.strip() for name, equals, value in lines if equals}


def partitions() -> dict[str, Partition]:
    """Every partition by name, hidden ones too."""
    read = (read_partition(parse_fields(line)) for line in _show("partition").splitlines() if line)
    return {partition.name: partition for partition in read}


def nodes() -> list[Node]:
    """Every node."""
    return [read_node(parse_fields(line)) for line in _show("node").splitlines() if line]


def _show(what: str) -> str:
    return query(["scontrol", "--all", "--oneliner", "show", what])


def parse_fields(line: str) -> dict[str, str]:
    """The ``Name=value`` fields of a line; values may hold spaces and ``=``.

    Of a name that comes twice it is the first: what people write (a node's ``Reason``) may look
    like fields, and stands last.
    """
    names = list(_NAME.finditer(line))
    ends = [name.start() for name in names[1:]] + [len(line)]
    found: dict[str, str] = {}
    for name, end in zip(names, ends, strict=True):
        found.setdefault(name[1], line[name.end() : end].strip())
    return found


def read_partition(said: Mapping[str, str]) -> Partition:
    """Make a partition of its fields."""
    longest = said.get("MaxTime", "UNLIMITED")
    return Partition(
        name=said["PartitionName"],
        default=said.get("Default") == "YES",
        state=said.get("State", "UP"),
        minutes=None if longest == "UNLIMITED" else minutes(longest, "MaxTime"),
        cpus=_number(said.get("MaxCPUsPerNode")),
        megabytes=_number(said.get("MaxMemPerNode")),
        qos=next(iter(_names(said.get("QoS", ""))), None),
        allowed=_named(said, "Allow"),
        denied=_named(said, "Deny"),
    )


def read_node(said: Mapping[str, str]) -> Node:
    """Make a node of its fields."""
    states = {re.sub(r"\W", "", state) for state in said.get("State", "").split("+")}
    return Node(
        name=said["NodeName"],
        partitions=_names(said.get("Partitions", "")),
        features=_names(said.get("AvailableFeatures", "")),
        gpus=count_gpus(said.get("Gres", "")),
        cpus=int(said.get("CPUEfctv") or said["CPUTot"]),
        megabytes=int(said["RealMemory"]) - (_number(said.get("MemSpecLimit")) or 0),
        usable=not states & _GONE,
    )


def count_gpus(gres: str) -> dict[str, int]:
    """The GPUs of a node's ``Gres``: ``gpu:a100:4(S:0-1),gpu:2`` is ``{"a100": 4, "": 2}``."""
    counts: dict[str, int] = {}
    for kind, count in _GPUS.findall(re.sub(r"\([^)]*\)", "", gres)):
        counts[kind] = counts.get(kind, 0) + int(count)
    return counts


def _named(said: Mapping[str, str], verb: str) -> dict[str, frozenset[str]]:
    texts = {what: said.get(verb + what, "ALL") for what in ("Groups", "Accounts", "Qos")}
    return {what: _names(text) for what, text in texts.items() if text != "ALL" and _names(text)}


def _names(text: str) -> frozenset[str]:
    return frozenset() if text in _NOTHING else frozenset(text.split(","))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
