"""What the documents link to is there, and the commands that they show can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = ["README.md", "results/README.md"]
VERBS = ("xray_hpc.launch", "xray_hpc.train", "xray_hpc.stage")


def commands() -> list[str]:
    text = (REPOSITORY / "README.md").read_text().replace("\\\n", " ")
    lines = re.findall(r"^\$ (python -m .*)$", text, flags=re.MULTILINE)
    return [line for line in lines if line.split()[2] in VERBS]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    document = REPOSITORY / name
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text())
    lost = [link for link in links if not (document.parent / link).exists()]
    assert links
    assert not lost


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_is_one_that_hydra_reads(command: str) -> None:
    words = shlex.split(command.replace("$HOME", "/home/you"), comments=True)[3:]
    plain = [word for word in words if "=" in word]
    assert len(OverridesParser.create().parse_overrides(plain)) == len(plain)
