"""Check that the cluster has a node with the resources that a job requests."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence

from xray_hpc.count_text import format_count
from xray_hpc.errors import ConfigError, one_of
from xray_hpc.launching.preflight.resource_request import ResourceRequest
from xray_hpc.slurm.scontrol import Node, Partition
from xray_hpc.slurm.units import format_memory


def check_node_fit(
    request: ResourceRequest, partitions: Sequence[Partition], nodes: Sequence[Node]
) -> list[str]:
    """Check that a node of one of these partitions has all resources that a job requests.

    Nodes that are down count, since they come back; a note tells if no other node fits, or if
    every partition is down.

    Raises:
        ConfigError: no node fits; the message gives the largest valid value.
    """
    fitting: list[Node] = []
    problems: list[ConfigError] = []
    for partition in partitions:
        inside = [node for node in nodes if partition.name in node.partitions]
        try:
            fitting += _fitting(request, partition, inside)
        except ConfigError as error:
            problems.append(error)
    if not fitting:
        raise problems[0]
    named = ", ".join(f"'{partition.name}'" for partition in partitions)
    if all(partition.state == "DOWN" for partition in partitions):
        return [f"partition {named} is down now; jobs wait until it is up"]
    if any(node.usable for node in fitting):
        return []
    names = ", ".join(sorted({node.name for node in fitting}))
    return [f"all fitting nodes of partition {named} are down or drained now ({names}); jobs wait"]


def matches(constraint: str, features: frozenset[str]) -> bool:
    """Return whether a node with these features may satisfy a constraint.

    Parentheses and counts are ignored, which only accepts more nodes; ``sbatch`` decides.
    """
    alternatives = re.split(r"\|", re.sub(r"[()\[\]\s]|\*\d+", "", constraint))
    return any(set(filter(None, re.split("[&,]", way))) <= features for way in alternatives)


def _fitting(request: ResourceRequest, partition: Partition, nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes of the partition that fit; raise ``ConfigError`` if none does."""
    where = f"no node of partition '{partition.name}'"
    if not nodes:
        raise ConfigError(f"partition '{partition.name}' has no nodes; use another")
    if request.constraint is not None:
        nodes = _with_features(request, nodes, where)
        where += f" with the features '{request.constraint}'"
    if request.gpus:
        nodes = _with_gpus(request, nodes, where)
        where += f" with {format_count(request.gpus, 'GPU')}"
    if request.memory is not None:
        offers = [min(node.megabytes, partition.megabytes or sys.maxsize) for node in nodes]
        key = request.keys["memory"]
        nodes = _with_at_least(request.memory, nodes, offers, key, where, format_memory)
    offers = [min(node.cpus, partition.cpus or sys.maxsize) for node in nodes]
    return _with_at_least(request.cpus, nodes, offers, request.keys["cpus"], where)


def _with_at_least(
    amount: int,
    nodes: Sequence[Node],
    offers: Sequence[int],
    key: str,
    where: str,
    shown: Callable[[int], str] = str,
) -> list[Node]:
    """Return the nodes that offer this amount of a resource; ``shown`` formats an amount."""
    if amount > (most := max(offers)):
        needs = f"{key} is {shown(amount)}, but {where} offers more than {shown(most)}"
        raise ConfigError(f"{needs}; use {shown(most)} or less")
    return [node for node, offer in zip(nodes, offers, strict=True) if offer >= amount]


def _with_features(request: ResourceRequest, nodes: Sequence[Node], where: str) -> list[Node]:
    """Return the nodes that satisfy the request's constraint."""
    wanted = str(request.constraint)
    if found := [node for node in nodes if matches(wanted, node.features)]:
        return found
    key, known = request.keys["constraint"], frozenset[str]().union(*(n.features for n in nodes))
    for word in re.findall(r"[^()\[\]|&,*\s]+", re.sub(r"\*\d+", "", wanted)):
        if word not in known:
            raise ConfigError(one_of(f"{key}: the feature", word, known))
    raise ConfigError(f"{key} is '{wanted}', but {where} has all these features")


def _with_gpus(request: ResourceRequest, nodes: Sequence[Node], where: str) -> list[Node]:
    """Return the nodes with enough GPUs of the requested type."""
    key, kind = request.keys["gpus"], request.gpu_type

    def has(node: Node) -> int:
        counts = {name.lower(): count for name, count in node.gpus.items()}
        return sum(counts.values()) if kind is None else counts.get(kind.lower(), 0)

    kinds = {name for node in nodes for name in node.gpus if name}
    if kind is not None and kind.lower() not in {name.lower() for name in kinds}:
        if kinds:
            raise ConfigError(one_of(f"{key}: the GPU type", kind, kinds))
        raise ConfigError(f"{key} requests type '{kind}', but {where} has GPU types; leave it out")
    needs = f"{key} is {request.gpus}, but {where} has"
    if (most := max(map(has, nodes))) == 0:
        raise ConfigError(f"{needs} a GPU; use another partition, or 0")
    what = "" if kind is None else f" of type {kind}"
    if request.gpus > most:
        raise ConfigError(f"{needs} more than {most} GPUs{what}; use {most} or fewer")
    return [node for node in nodes if has(node) >= request.gpus]
