"""Import Keras so that the settings of a user or a site change no number.

Keras reads ``keras.json`` in its folder and ``KERAS_*`` variables: backend, float type, epsilon,
image data format. TensorFlow and its libraries read many more variables. The known ones that change
numbers are dropped, so that their defaults apply. Others, which a site may need (``XLA_FLAGS`` can
hold a path), are part of the identity of the software, as versions are.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

DROPPED = re.compile(
    r"KERAS_(?!HOME$)\w+|TF_ENABLE_ONEDNN_OPTS|TF_ENABLE_AUTO_MIXED_PRECISION\w*|TF_XLA_FLAGS"
    r"|TF_NUM_INTRAOP_THREADS|TF_USE_LEGACY_KERAS|NVIDIA_TF32_OVERRIDE"
)
# Not all of TF_: Terraform's variables begin so too, and some of them are secret.
RECORDED = re.compile(
    r"(TF_(ENABLE|DISABLE|USE|SET|ONEDNN|MKL|CUDNN|CUBLAS|XLA|AUTO_MIXED_PRECISION)"
    r"|XLA|ONEDNN|DNNL|CUDNN|CUBLAS|CUBLASLT)_\w+"
)
# Logging, and determinism, which the program requires itself.
HARMLESS = re.compile(r".*(LOG|VERBOSE).*|TF_CUDNN_DETERMINISTIC")
NO_FOLDER = os.devnull  # Keras can neither read nor create a file in it

logger = logging.getLogger(__name__)


@contextmanager
def isolated_keras() -> Iterator[None]:
    """Import Keras and TensorFlow before the block, with their default settings.

    What libraries write to stderr meanwhile and in the block is suppressed, unless it fails:
    TensorFlow reports CPU features and missing GPU drivers before its own logging settings apply.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Keras opens HDF5 files, whose locks fail on file systems without them. Files that are still
    # being written have temporary names here.
    os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
    dropped = sorted(name for name in os.environ if DROPPED.fullmatch(name))
    if dropped:
        logger.info("Ignoring variables that could change numbers: %s.", ", ".join(dropped))
    for name in dropped:
        del os.environ[name]
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as buffer:
        os.dup2(buffer.fileno(), 2)
        try:
            _import_keras()
            yield
        except Exception:
            os.dup2(stderr, 2)
            buffer.seek(0)
            sys.stderr.buffer.write(buffer.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _import_keras() -> None:
    home = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = NO_FOLDER
    try:
        import keras  # noqa: F401
    finally:
        if home is None:
            del os.environ["KERAS_HOME"]
        else:
            os.environ["KERAS_HOME"] = home


def recorded_variables() -> dict[str, str]:
    """Return the environment variables that are set and may change numbers."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if RECORDED.fullmatch(name) and not (HARMLESS.fullmatch(name) or DROPPED.fullmatch(name))
    }
