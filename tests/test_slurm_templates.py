"""The files that a user copies to a cluster, as far as they can be checked without Slurm."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "slurm_templates"
BATCH = sorted(FOLDER.glob("*.sbatch"))
ALL = [*BATCH, FOLDER / "interactive.sh"]


def directives(template: Path) -> list[str]:
    lines = template.read_text().splitlines()
    return [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]


def bash(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"]} | environment
    return subprocess.run(["bash", *arguments], capture_output=True, text=True, env=kept)


def test_every_kind_of_job_has_its_template() -> None:
    names = sorted(path.name for path in FOLDER.iterdir())
    assert names == ["collect.sbatch", "interactive.sh", "sweep.sbatch", "train.sbatch"]


@pytest.mark.parametrize("template", ALL, ids=lambda path: path.name)
def test_it_is_plain_bash(template: Path) -> None:
    text = template.read_bytes()
    assert text.startswith(b"#!/bin/bash\n")
    assert b"\r" not in text
    assert text.isascii()
    checked = bash("-n", template)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("template", BATCH, ids=lambda path: path.name)
def test_every_directive_stands_before_the_first_command(template: Path) -> None:
    """Slurm ignores those behind it without a word."""
    lines = template.read_text().splitlines()
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert not [line for line in lines[first_command:] if "#SBATCH" in line]


@pytest.mark.parametrize("template", BATCH, ids=lambda path: path.name)
def test_it_says_what_the_job_needs_and_nothing_of_one_site(template: Path) -> None:
    given = [line.split("=")[0] for line in directives(template)]
    needed = ["--job-name", "--output", "--nodes", "--ntasks", "--cpus-per-task", "--mem", "--time"]
    trains = ["--gres", "--requeue", "--open-mode", "--signal"]
    assert sorted(given) == sorted(needed + ([] if template.name == "collect.sbatch" else trains))


@pytest.mark.parametrize("template", ALL, ids=lambda path: path.name)
def test_the_only_absolute_paths_are_placeholders(template: Path) -> None:
    paths = re.findall(r"""(?:^|[\s=(:])["'!]*(/[\w./-]+)""", template.read_text())
    others = {path for path in paths if not path.startswith("/path/to/")}
    assert others <= {"/bin/bash", "/dev/null"}


@pytest.mark.parametrize("template", BATCH, ids=lambda path: path.name)
def test_logs_of_two_jobs_have_two_names(template: Path) -> None:
    (output,) = (line for line in directives(template) if line.startswith("--output"))
    assert "%j" in output or "%A_%a" in output


def test_train_and_sweep_ask_for_the_same() -> None:
    def asked(name: str) -> list[str]:
        naming = ("--job-name", "--output")
        return [line for line in directives(FOLDER / name) if not line.startswith(naming)]

    assert asked("train.sbatch") == asked("sweep.sbatch")


def test_help_says_how_to_open_an_interactive_session() -> None:
    shown = bash(FOLDER / "interactive.sh", "--help")
    assert shown.returncode == 0
    assert shown.stdout.startswith("usage: slurm_templates/interactive.sh [srun option ...]")
    for name in ("GPUS", "CPUS", "MEM", "TIME"):
        assert f"XRAY_HPC_{name}=" in shown.stdout


def test_without_slurm_the_interactive_session_says_where_to_run(tmp_path: Path) -> None:
    (tmp_path / "bash").symlink_to("/bin/bash")
    done = bash(FOLDER / "interactive.sh", PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == "error: no srun here; run this on a login node of a Slurm cluster\n"
