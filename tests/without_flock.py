"""Take ``flock`` from processes, as on a file system that does not support it."""

from __future__ import annotations

SITECUSTOMIZE = """
import errno, fcntl, os

def flock(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

fcntl.flock = flock
"""
"""Code for the ``sitecustomize`` of the processes."""
