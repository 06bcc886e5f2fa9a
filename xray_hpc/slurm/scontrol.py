"""Settings, partitions and nodes of the cluster, from ``scontrol show``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from xray_hpc.slurm.client import query
from xray_hpc.slurm.units import parse_minutes, parse_number

_NAME = re.compile(r"(?:^|(?<=\s))([A-Z][A-Za-z0-9_:/]*)=")
_GPUS = re.compile(r"(?:^|,)gpu(?::([^:,]+))?:(\d+)(?=,|$)")
_UNUSABLE = {"DOWN", "DRAIN", "DRAINED", "DRAINING", "FAIL", "FAILING", "ERROR", "INVAL", "FUTURE"}
_EMPTY = ("", "(null)", "N/A", "NONE")


@dataclass(frozen=True)
class Partition:
    """A partition; limits are ``None`` where there are none."""

    name: str
    default: bool
    state: str  # such as UP
    minutes: int | None  # time limit
    cpus: int | None  # most per node
    megabytes: int | None  # most per node
    qos: str | None  # whose limits apply too
    # Names by kind: Groups, Accounts or Qos; no entry is no limit
    allowed: Mapping[str, frozenset[str]]
    denied: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Node:
    """A node and the resources that jobs can use; ``gpus`` counts GPUs by type, which may be ""."""

    name: str
    partitions: frozenset[str]
    features: frozenset[str]
    gpus: Mapping[str, int]
    cpus: int
    megabytes: int
    usable: bool


def settings() -> dict[str, str]:
    """Return the settings of ``scontrol show config``, such as ``{"MaxArraySize": "1001"}``."""
    lines = (line.partition("=") for line in _show("config").splitlines())
    return {name.strip(): value.strip() for name, equals, value in lines if equals}


def partitions() -> dict[str, Partition]:
    """Return every partition by name, including hidden ones."""
    read = [read_partition(fields) for fields in parse_records(_show("partition"), "PartitionName")]
    return {partition.name: partition for partition in read if partition is not None}


def nodes() -> list[Node]:
    """Return every node."""
    read = [read_node(fields) for fields in parse_records(_show("node"), "NodeName")]
    return [node for node in read if node is not None]


def _show(entity: str) -> str:
    return query(["scontrol", "--all", "--oneliner", "show", entity])


def parse_records(text: str, first: str) -> list[dict[str, str]]:
    """Return the fields of each line that begins with ``first=``; ignore other lines."""
    lines = text.splitlines()
    return [parse_fields(line) for line in lines if line.startswith(f"{first}=")]


def parse_fields(line: str) -> dict[str, str]:
    """Return the ``Name=value`` fields of a line; values may contain spaces and ``=``.

    The first field of a name wins: free text, such as the ``Reason`` of a node, may look like
    fields, and comes last.
    """
    names = list(_NAME.finditer(line))
    ends = [*(name.start() for name in names[1:]), len(line)]
    found: dict[str, str] = {}
    for name, end in zip(names, ends, strict=False):
        found.setdefault(name[1], line[name.end() : end].strip())
    return found


def read_partition(fields: Mapping[str, str]) -> Partition | None:
    """Build a partition from its fields; ``None`` if the line is incomplete."""
    if "State" not in fields:
        return None
    return Partition(
        name=fields["PartitionName"],
        default=fields.get("Default") == "YES",
        state=fields["State"],
        minutes=parse_minutes(fields.get("MaxTime", "")),
        cpus=parse_number(fields.get("MaxCPUsPerNode")),
        megabytes=parse_number(fields.get("MaxMemPerNode")),
        qos=next(iter(_names(fields.get("QoS", ""))), None),
        allowed=_named(fields, "Allow"),
        denied=_named(fields, "Deny"),
    )


def read_node(fields: Mapping[str, str]) -> Node | None:
    """Build a node from its fields; ``None`` if the line is incomplete."""
    cpus = parse_number(fields.get("CPUEfctv") or fields.get("CPUTot"))
    megabytes = parse_number(fields.get("RealMemory"))
    if cpus is None or megabytes is None or "Partitions" not in fields:
        return None
    states = {re.sub(r"\W", "", state) for state in fields.get("State", "").split("+")}
    return Node(
        name=fields["NodeName"],
        partitions=_names(fields.get("Partitions", "")),
        features=_names(fields.get("AvailableFeatures", "")),
        gpus=count_gpus(fields.get("Gres", "")),
        cpus=cpus,
        megabytes=megabytes - (parse_number(fields.get("MemSpecLimit")) or 0),
        usable=not states & _UNUSABLE,
    )


def count_gpus(gres: str) -> dict[str, int]:
    """Count GPUs by type: ``gpu:a100:4(S:0-1),gpu:2`` gives ``{"a100": 4, "": 2}``."""
    counts: dict[str, int] = {}
    for kind, count in _GPUS.findall(re.sub(r"\([^)]*\)", "", gres)):
        counts[kind] = counts.get(kind, 0) + int(count)
    return counts


def _named(fields: Mapping[str, str], verb: str) -> dict[str, frozenset[str]]:
    texts = {kind: fields.get(verb + kind, "ALL") for kind in ("Groups", "Accounts", "Qos")}
    return {kind: _names(text) for kind, text in texts.items() if text != "ALL" and _names(text)}


def _names(text: str) -> frozenset[str]:
    return frozenset() if text in _EMPTY else frozenset(text.split(","))
