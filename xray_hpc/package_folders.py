"""Locate the folders that ship with the package: ``conf``, ``jobs``, ``slurm_templates``."""

from __future__ import annotations

from pathlib import Path

from xray_hpc.absolute_path import shell_path


def resource(name: str) -> Path:
    """Return the folder ``name``: inside an installed package, beside it in a checkout."""
    package = shell_path(__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
