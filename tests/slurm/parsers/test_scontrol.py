"""Test the parsers of ``scontrol --oneliner``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.slurm.scontrol import Node, count_gpus, nodes, parse_fields, partitions

NAMES = st.from_regex(r"[A-Z][A-Za-z0-9_]{0,12}", fullmatch=True)
# Words that are no fields themselves: they may hold "=", but do not begin with a capital then.
WORDS = st.from_regex(r"[a-z0-9#@/:.,(\[][A-Za-z0-9=#@/:.,)(\]]{0,12}", fullmatch=True)
VALUES = st.lists(WORDS, max_size=4).map(" ".join)


@given(st.dictionaries(NAMES, VALUES, min_size=1), st.sampled_from([" ", "  "]))
def test_parse_fields_round_trip(values: dict[str, str], gap: str) -> None:
    assert parse_fields(gap.join(f"{name}={value}" for name, value in values.items())) == values


@given(st.dictionaries(NAMES, VALUES, min_size=1))
def test_parse_fields_ignores_fields_in_free_text(values: dict[str, str]) -> None:
    line = " ".join(f"{name}={value}" for name, value in values.items())
    remark = " ".join(f"and {name}=something else" for name in values)
    read = parse_fields(f"{line} Reason_={remark} [root@2026-01-01T00:00:00]")
    assert {name: read[name] for name in values} == values


@pytest.mark.parametrize(
    ("gres", "counts"),
    [
        ("(null)", {}),
        ("gpu:2", {"": 2}),
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:a100:4(S:0,1),gpu:v100:2(S:1),nvme:1", {"a100": 4, "v100": 2}),
        ("craynetwork:4,gpu:nvidia_h100_80gb_hbm3:8", {"nvidia_h100_80gb_hbm3": 8}),
        ("gpu:1g.10gb:7,shard:14", {"1g.10gb": 7}),
    ],
)
def test_count_gpus_by_type(gres: str, counts: dict[str, int]) -> None:
    assert count_gpus(gres) == counts


def test_nodes_have_the_resources_of_jobs(site: Any) -> None:
    assert nodes()[1] == Node(
        name="node2",
        partitions=frozenset({"main", "big", "closed", "ended", "fast"}),
        features=frozenset({"a100", "ib", "gen8"}),
        gpus={"a100": 4, "v100": 2},
        cpus=64,
        megabytes=500_000,
        usable=True,
    )


def test_down_or_drained_node_is_unusable(site: Any) -> None:
    site.answer("scontrol", "*show node", site.recorded("nodes_away.txt"))
    assert {node.name: node.usable for node in nodes()} == {
        "node1": False,
        "node2": False,
        "node3": True,
    }
    assert nodes()[1].gpus == {"a100": 4, "v100": 2}


def test_node_memory_excludes_the_reserved_memory(site: Any) -> None:
    line = site.recorded("nodes.txt").splitlines()[0]
    site.answer("scontrol", "*show node", line + " MemSpecLimit=1000\n")
    assert nodes()[0].megabytes == 39_000


def test_partitions_have_limits_and_permissions(site: Any) -> None:
    there = partitions()
    assert [name for name, partition in there.items() if partition.default] == ["main"]
    assert (there["main"].minutes, there["short"].minutes) == (None, 36 * 60)
    assert (there["fast"].cpus, there["fast"].megabytes) == (4, 8000)
    assert there["big"].allowed == {"Accounts": frozenset({"lungs"})}
    assert there["physicists"].denied == {"Accounts": frozenset({"hearts"})}
    assert (there["closed"].state, there["ended"].state) == ("DOWN", "DRAIN")
