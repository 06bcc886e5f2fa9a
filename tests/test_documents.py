"""The documents: links lead somewhere, commands can be typed, the README stays one page."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = sorted(
    str(path.relative_to(REPOSITORY))
    for path in (
        *REPOSITORY.glob("*.md"),
        REPOSITORY / "results" / "README.md",
        *(REPOSITORY / "docs").rglob("*.md"),
    )
    if "_generated" not in path.parts
)
HYDRA_COMMANDS = ("xray_hpc.launch", "xray_hpc.train", "xray_hpc.stage")


def commands() -> list[str]:
    """Every command line of Python that a document shows, each once."""
    texts = ((REPOSITORY / name).read_text().replace("\\\n", " ") for name in DOCUMENTS)
    return sorted(
        {line for text in texts for line in re.findall(r"^\$ (python -m .*)$", text, re.M)}
    )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files(name: str) -> None:
    document = REPOSITORY / name
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("command", commands())
def test_commands_name_a_module(command: str) -> None:
    assert importlib.util.find_spec(command.split()[2])


@pytest.mark.parametrize("command", [c for c in commands() if c.split()[2] in HYDRA_COMMANDS])
def test_overrides_in_commands_are_read_by_hydra(command: str) -> None:
    words = shlex.split(command.replace("$HOME", "/home/you"), comments=True)[3:]
    overrides = [word for word in words if "=" in word]
    assert len(OverridesParser.create().parse_overrides(overrides)) == len(overrides)


def test_readme_is_one_page() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150
