"""A container whose image has nothing of Slurm, for jobs on a throw-away cluster."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.slurm.cluster import ROOT

CONTAINER = """\
#!/bin/sh
hidden='mount -t tmpfs none {cluster} && PATH=/nonexistent exec "$@"'
exec unshare --mount sh -c "$hidden" sh "$@"
"""


def bare_container(folder: Path) -> list[str]:
    """Write the container's program into ``folder``; return overrides that make jobs use it."""
    program = folder / "container"
    program.write_text(CONTAINER.format(cluster=ROOT))
    program.chmod(0o755)
    return [f"cluster.container={program}", f"cluster.python={sys.executable}"]
