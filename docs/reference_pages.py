"""Write the reference pages that are generated from the code: keys and command help."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from xray_hpc.config.key_reference import KeyDescription, describe_keys

# The commands with a parser of their own; the others take Hydra overrides.
COMMANDS = ("status", "logs", "cancel", "collect", "predict")


def write(folder: Path) -> None:
    """Write ``configuration.md`` and ``<command>.md`` for each command into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "configuration.md").write_text("\n".join(configuration_lines()) + "\n")
    for command in COMMANDS:
        (folder / f"{command}.md").write_text(f"```text\n{help_text(command)}```\n")


def configuration_lines() -> Iterator[str]:
    """Yield the lines of the configuration page: one heading and one table a section."""
    top: list[KeyDescription] = []
    sections: dict[str, tuple[KeyDescription, list[KeyDescription]]] = {}
    for key in describe_keys():
        section = key.key.rpartition(".")[0]
        if not key.type:
            sections[key.key] = (key, [])
        elif section:
            sections[section][1].append(key)
        else:
            top.append(key)
    for head, keys in sections.values():
        yield from ("", f"## {head.key}", "", head.meaning, "", *table(keys))
    yield from ("", "## Keys without a section", "", *table(top))


def table(keys: list[KeyDescription]) -> Iterator[str]:
    """Yield a Markdown table with one row for each key."""
    yield "| key | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for key in keys:
        kind = ", ".join(f"`{choice}`" for choice in key.choices) or key.type.replace(" | ", " or ")
        if key.choices and "integer" in key.type.split(" | ") and not key.choices[0].isdigit():
            kind = f"integer, {kind}"
        unit = f" ({key.unit})" if key.unit else ""
        meaning = key.meaning.replace("``", "`").replace("|", "\\|")
        yield f"| `{key.key}` | {kind}{unit} | {default_text(key.default)} | {meaning} |"


def default_text(value: Any) -> str:
    """Return a default as a user would type it, or "unset"."""
    if value is None:
        return "unset"
    return f"`{yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}`"


def help_text(command: str) -> str:
    """Return what ``python -m xray_hpc.COMMAND --help`` prints at 80 columns."""
    done = subprocess.run(
        [sys.executable, "-m", f"xray_hpc.{command}", "--help"],
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
