"""The software on which it depends whether a training that goes on gives the same result."""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import xray_hpc
from xray_hpc import __version__

# What draws, reads, computes and decides in a training; nothing else here does.
DECIDING = ("data", "models", "training", "metrics.py")


def software() -> dict[str, str]:
    """Versions, and a digest of our own code."""
    return {
        "xray_hpc": __version__,
        "code": code_digest(Path(xray_hpc.__file__).parent),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }


@functools.cache
def code_digest(package: Path) -> str:
    """A digest of the code in ``package`` that a training's result depends on.

    Comments and the layout of lines have no part in it.
    """
    digest = hashlib.sha256()
    for name in DECIDING:
        path = package / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            tree = ast.dump(ast.parse(file.read_bytes()))
            digest.update(f"{file.relative_to(package)}\n{tree}\n".encode())
    return digest.hexdigest()[:16]
