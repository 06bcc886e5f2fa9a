"""Collect a sweep: ``python jobs/collect.py SWEEP_FOLDER``.

What the collect job of a launch executes; the same as ``python -m xray_hpc.collect``.
"""

from __future__ import annotations

from xray_hpc import cli
from xray_hpc.collect import main

if __name__ == "__main__":
    cli.run(main)
