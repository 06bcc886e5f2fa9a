"""Where the modules are that the tests of this folder share."""

from __future__ import annotations

import sys
from pathlib import Path

# Under --import-mode=importlib a test folder's own modules are not importable by themselves.
for name in ("faults", "report", "slurm"):
    sys.path.insert(0, str(Path(__file__).parents[1] / name))
