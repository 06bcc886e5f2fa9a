"""The software on which it depends whether a training that goes on gives the same result."""

from __future__ import annotations

import ast
import functools
import hashlib
import platform
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf

import xray_hpc
from xray_hpc import __version__

# Whatever draws, reads, computes, decides or writes in a training is in one of these.
DECIDING = ("data", "features", "models", "synthetic", "training", "metrics.py")


def library_versions() -> dict[str, str]:
    """The versions that decide a result."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def software_identity() -> dict[str, str]:
    """What has to be the same for a training to go on: versions, and a digest of our own code.

    Of Python the first two numbers: the digest is of what it makes of the code.
    """
    own = {"xray_hpc": __version__, "code": code_digest(Path(xray_hpc.__file__).parent)}
    return own | library_versions() | {"python": "{}.{}".format(*platform.python_version_tuple())}


@functools.cache
def code_digest(package: Path) -> str:
    """A digest of the code in ``package`` that a training's result can depend on.

    Comments, docstrings and the layout of lines have no part in it.
    """
    digest = hashlib.sha256()
    for name in DECIDING:
        path = package / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(package)}\n{_code(file)}\n".encode())
    return digest.hexdigest()[:16]


def _code(file: Path) -> str:
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            del node.body[0]
    return ast.dump(tree)
