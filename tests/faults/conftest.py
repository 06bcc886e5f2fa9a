"""Where the modules are that the tests of this folder share."""

from __future__ import annotations

import sys
from pathlib import Path

# Under --import-mode=importlib a test folder's own modules are not importable by themselves.
for folder in (
    Path(__file__).parent,
    *(Path(__file__).parents[1] / n for n in ("report", "slurm")),
):
    sys.path.insert(0, str(folder))
