"""Whether there is a node that a job fits on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from xray_hpc.errors import ConfigError, one_of
from xray_hpc.launching.preflight.resource_request import Demand
from xray_hpc.slurm.scontrol import Node, Partition
from xray_hpc.slurm.units import format_memory


class _UnfitError(Exception):
    """No node fits; the message says why and what would."""


def check(demand: Demand, partitions: Sequence[Partition], nodes: Sequence[Node]) -> list[str]:
    """Check that a node of one of these partitions has all that a job asks for.

    Nodes that are down count, for they come back; a note says so where there is no other, or
    where every partition is down.

    Raises:
        UserError: there is none; the message says the most that there is.
    """
    fitting: list[Node] = []
    problems: list[str] = []
    for partition in partitions:
        inside = [node for node in nodes if partition.name in node.partitions]
        try:
            fitting += _fitting(demand, partition, inside)
        except _UnfitError as unfit:
            problems.append(str(unfit))
    if not fitting:
        raise ConfigError(problems[0])
    named = ", ".join(f"'{partition.name}'" for partition in partitions)
    if all(partition.state == "DOWN" for partition in partitions):
        return [f"partition {named} is down now; its jobs wait until it is up"]
    if any(node.usable for node in fitting):
        return []
    away = ", ".join(sorted({node.name for node in fitting}))
    return [f"every node of partition {named} that fits is down or drained now ({away}); jobs wait"]


def matches(constraint: str, features: frozenset[str]) -> bool:
    """Whether a node with these features may satisfy a constraint.

    Parentheses and counts are passed over, which can only let more nodes through: ``sbatch`` has
    the last word.
    """
    ways = re.split(r"\|", re.sub(r"[()\[\]\s]|\*\d+", "", constraint))
    return any(set(filter(None, re.split("[&,]", way))) <= features for way in ways)


def _fitting(demand: Demand, partition: Partition, nodes: Sequence[Node]) -> list[Node]:
    """The nodes of the partition that fit; ``_UnfitError`` where there is none."""
    where = f"no node of partition '{partition.name}'"
    if not nodes:
        raise _UnfitError(f"partition '{partition.name}' has no nodes; use another")
    if demand.constraint is not None:
        nodes = _with_features(demand, nodes, where)
        where += f" with the features '{demand.constraint}'"
    if demand.gpus:
        nodes = _with_gpus(demand, nodes, where)
        where += f" with {demand.gpus} GPU{'s' if demand.gpus > 1 else ''}"
    if demand.memory is not None:
        most = _at_most(lambda node: node.megabytes, partition.megabytes)
        nodes = _with(most, demand.memory, nodes, demand.keys["memory"], where, format_memory)
    most = _at_most(lambda node: node.cpus, partition.cpus)
    return _with(most, demand.cpus, nodes, demand.keys["cpus"], where, str)


def _at_most(has: Callable[[Node], int], limit: int | None) -> Callable[[Node], int]:
    return lambda node: has(node) if limit is None else min(has(node), limit)


def _with(
    has: Callable[[Node], int],
    asked: int,
    nodes: Sequence[Node],
    key: str,
    where: str,
    shown: Callable[[int], str],
) -> list[Node]:
    """The nodes that have as many as ``asked``; ``shown`` writes such a number."""
    if asked > (most := max(map(has, nodes))):
        raise _UnfitError(
            f"{key} is {shown(asked)}, but {where} gives a job more than {shown(most)}; "
            f"use {shown(most)} or less"
        )
    return [node for node in nodes if has(node) >= asked]


def _with_features(demand: Demand, nodes: Sequence[Node], where: str) -> list[Node]:
    wanted = str(demand.constraint)
    if found := [node for node in nodes if matches(wanted, node.features)]:
        return found
    key, known = demand.keys["constraint"], frozenset[str]().union(*(n.features for n in nodes))
    for word in re.findall(r"[^()\[\]|&,*\s]+", re.sub(r"\*\d+", "", wanted)):
        if word not in known:
            raise _UnfitError(one_of(f"{key}: the feature", word, known))
    raise _UnfitError(f"{key} is '{wanted}', but {where} has these features together")


def _with_gpus(demand: Demand, nodes: Sequence[Node], where: str) -> list[Node]:
    key, kind = demand.keys["gpus"], demand.gpu_type

    def has(node: Node) -> int:
        counts = {name.lower(): count for name, count in node.gpus.items()}
        return sum(counts.values()) if kind is None else counts.get(kind.lower(), 0)

    kinds = {name for node in nodes for name in node.gpus if name}
    if kind is not None and kind.lower() not in {name.lower() for name in kinds}:
        if kinds:
            raise _UnfitError(one_of(f"{key}: the type of GPU", kind, kinds))
        raise _UnfitError(f"{key} asks for type '{kind}', but {where} tells GPUs apart; give none")
    if not any(map(has, nodes)):
        raise _UnfitError(
            f"{key} is {demand.gpus}, but {where} has a GPU; use another partition, or 0"
        )
    what = "" if kind is None else f" of type {kind}"
    if demand.gpus > (most := max(map(has, nodes))):
        raise _UnfitError(
            f"{key} is {demand.gpus}, but {where} has more than {most} GPUs{what}; "
            f"use {most} or fewer"
        )
    return [node for node in nodes if has(node) >= demand.gpus]
