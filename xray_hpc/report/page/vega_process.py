"""Run vl-convert in a process of its own.

Its JavaScript engine reserves gigabytes of addresses, and aborts its process where ``ulimit -v``
does not allow them, as on some login nodes. Here that is an exception.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from xray_hpc.errors import UserError


class VegaTask(NamedTuple):
    """What to make: a file of a Vega-Lite specification, or the script ``bundle`` of Vega."""

    kind: Literal["pdf", "png", "bundle"]
    source: Any  # the specification, or the code of the script
    scale: float = 1.0


class VegaError(UserError):
    """vl-convert cannot run here."""


def run_vega(tasks: Sequence[VegaTask]) -> list[bytes]:
    """Return the content of each task's file.

    Raises:
        VegaError: vl-convert's process died.
    """
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, input=pickle.dumps(list(tasks)), capture_output=True)
    if done.returncode < 0:
        raise VegaError(
            "vl-convert cannot run here, usually because `ulimit -v` is below 8 GB; raise the "
            "limit, or collect in a job"
        )
    if done.returncode > 0:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    contents: list[bytes] = pickle.loads(done.stdout)
    return contents


def _content(task: VegaTask) -> bytes:
    import vl_convert

    if task.kind == "bundle":
        return str(vl_convert.javascript_bundle(task.source)).encode()
    if task.kind == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(task.source))
    return bytes(vl_convert.vegalite_to_png(task.source, scale=task.scale))


if __name__ == "__main__":
    requested = [VegaTask(*task) for task in pickle.load(sys.stdin.buffer)]
    sys.stdout.buffer.write(pickle.dumps([_content(task) for task in requested]))
