"""Identify the software that a result depends on.

Checkpoints and cached features are used again only with the same software: the versions of the
libraries, the environment variables that they read, and a digest of the modules of this package
that compute numbers. Figures, messages and progress are in other modules, so that a change there
does not invalidate anything.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import platform
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf

import xray_hpc
from xray_hpc import __version__
from xray_hpc.isolated_keras import recorded_variables

COMPUTING_MODULES = {
    "": ("isolated_keras", "metrics"),
    "data": (
        *("array_store", "array_writer", "augmentation_parameters", "csv_index", "dataset"),
        *("decode", "dicom", "dicom_header", "folder_index", "grey_levels", "image_store"),
        *("apply_augmentation", "index", "index_entry", "input_pipeline", "splits"),
        "stored_images",
    ),
    "features": ("feature_store", "forward_pass", "model_cut"),
    "models": (
        *(
            "build_backbone",
            "build_model",
            "cnn",
            "four_block_cnn",
            "custom_layers",
            "layer_graph",
            "two_conv_cnn",
        ),
        *("preprocessing", "registry", "stacked_backbones", "transfer", "vgg_like"),
    ),
    "synthetic": (*("anatomy", "demo_backbone", "demo_dataset", "film", "opacities", "shapes"),),
    "training": (
        *("checkpoint", "epoch_callbacks", "feed", "fit", "loop", "strategy", "training_model"),
    ),
}
"""The modules that compute numbers, by package."""

LOGGING_CALLS = {"print", "debug", "info", "warning", "error"}


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that compute numbers."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def software_identity() -> dict[str, str]:
    """Return what must be the same for a result to be the same: versions, variables, our code.

    Of Python's version only major and minor number: the syntax tree is the same within them.
    """
    package = Path(xray_hpc.__file__).parent
    own = {"xray_hpc": __version__, "code": code_digest(package)}
    versions = library_versions() | {"python": "{}.{}".format(*platform.python_version_tuple())}
    return own | versions | recorded_variables()


@functools.cache
def code_digest(package: Path) -> str:
    """Return a digest of the ``COMPUTING_MODULES`` below ``package``.

    Comments, docstrings, the layout of lines and the messages of errors and logs do not count.
    """
    digest = hashlib.sha256()
    for folder, names in COMPUTING_MODULES.items():
        for name in names:
            source = (package / folder / f"{name}.py").read_bytes()
            tree = _WithoutMessages().visit(ast.parse(source))
            digest.update(f"{folder}/{name}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()[:16]


class _WithoutMessages(ast.NodeTransformer):
    """Remove docstrings, log calls and the arguments of exceptions from a syntax tree."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        call = node.value
        if isinstance(call, ast.Constant):
            return ast.Pass()
        if isinstance(call, ast.Call) and _name(call.func) in LOGGING_CALLS:
            return ast.Pass()
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return self.generic_visit(node)


def _name(function: Any) -> str | None:
    """Return the last part of a function's name: ``info`` of ``logger.info``."""
    return getattr(function, "attr", getattr(function, "id", None))
