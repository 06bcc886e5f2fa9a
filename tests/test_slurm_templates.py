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
    variables = {"PATH": os.environ["PATH"]} | environment
    return subprocess.run(["bash", *arguments], capture_output=True, text=True, env=variables)


def test_every_kind_of_job_has_a_template() -> None:
    names = sorted(path.name for path in FOLDER.iterdir())
    assert names == ["collect.sbatch", "interactive.sh", "sweep.sbatch", "train.sbatch"]


@pytest.mark.parametrize("template", ALL, ids=lambda path: path.name)
def test_template_is_valid_ascii_bash(template: Path) -> None:
    text = template.read_bytes()
    assert text.startswith(b"#!/bin/bash\n")
    assert b"\r" not in text
    assert text.isascii()
    checked = bash("-n", template)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("template", BATCH, ids=lambda path: path.name)
def test_directives_precede_the_first_command(template: Path) -> None:
    """Slurm silently ignores later directives."""
    lines = template.read_text().splitlines()
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert not [line for line in lines[first_command:] if "#SBATCH" in line]


@pytest.mark.parametrize("template", BATCH, ids=lambda path: path.name)
def test_template_requests_resources_but_nothing_site_specific(template: Path) -> None:
    options = [line.split("=")[0] for line in directives(template)]
    needed = ["--job-name", "--output", "--nodes", "--ntasks", "--cpus-per-task", "--mem", "--time"]
    for_training = ["--gres", "--requeue", "--open-mode", "--signal"]
    assert sorted(options) == sorted(
        needed + ([] if template.name == "collect.sbatch" else for_training)
    )


@pytest.mark.parametrize("template", ALL, ids=lambda path: path.name)
def test_absolute_paths_are_placeholders(template: Path) -> None:
    paths = re.findall(r"""(?:^|[\s=(:])["'!]*(/[\w./-]+)""", template.read_text())
    others = {path for path in paths if not path.startswith("/path/to/")}
    assert others <= {"/bin/bash", "/dev/null"}


@pytest.mark.parametrize("template", BATCH, ids=lambda path: path.name)
def test_log_names_contain_the_job_id(template: Path) -> None:
    (output,) = (line for line in directives(template) if line.startswith("--output"))
    assert "%j" in output or "%A_%a" in output


def test_train_and_sweep_request_the_same_resources() -> None:
    def resources(name: str) -> list[str]:
        names = ("--job-name", "--output")
        return [line for line in directives(FOLDER / name) if not line.startswith(names)]

    assert resources("train.sbatch") == resources("sweep.sbatch")


def test_interactive_help_lists_its_variables() -> None:
    shown = bash(FOLDER / "interactive.sh", "--help")
    assert shown.returncode == 0
    assert shown.stdout.startswith("usage: slurm_templates/interactive.sh [srun option ...]")
    for name in ("GPUS", "CPUS", "MEM", "TIME"):
        assert f"XRAY_HPC_{name}=" in shown.stdout


def test_interactive_without_slurm_fails_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "bash").symlink_to("/bin/bash")
    done = bash(FOLDER / "interactive.sh", PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: No Slurm cluster found")
