"""The training process of a run: ``python -m xray_hpc.training RUN_FOLDER``.

It is started by ``jobs/run.py``, which holds the run's lock and watches over this process.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xray_hpc.errors import UserError
from xray_hpc.runs.paths import RunPaths
from xray_hpc.runs.record import Status, now, update_record


@contextmanager
def quiet_start() -> Iterator[None]:
    """Hold back what libraries write to stderr while they are imported, unless that fails.

    TensorFlow's lines about CPU features and absent GPU drivers come before any of its settings
    for logging have an effect.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(kept, 2)
            held.seek(0)
            sys.stderr.buffer.write(held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def main() -> int:
    """Train the run; whatever goes wrong is in ``run.json`` before the process ends."""
    paths = RunPaths(Path(sys.argv[1]).resolve())
    try:
        with quiet_start():
            from xray_hpc.training.run import train_run
        train_run(paths, bar=os.environ.get("XRAY_HPC_BAR") == "1")
    except UserError as error:
        print("error:", error, file=sys.stderr)
        _record_failure(paths, error)
        return 2
    except Exception as error:
        _record_failure(paths, error)
        raise
    return 0


def _record_failure(paths: RunPaths, error: Exception) -> None:
    message = " ".join(str(error).split())[:500]
    what = {"type": type(error).__name__, "message": message}
    update_record(paths, status=Status.FAILED, ended=now(), error=what)


if __name__ == "__main__":
    sys.exit(main())
