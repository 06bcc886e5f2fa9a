"""Sphinx configuration; `make docs` builds the pages into build/docs."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for reference_pages

import reference_pages

import xray_hpc

project = "xray_hpc"
author = "the xray_hpc contributors"
release = xray_hpc.__version__
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["reference/_generated"]
html_theme = "furo"
html_title = "xray_hpc"
html_static_path: list[str] = []

# Every build writes the generated pages anew.
reference_pages.write(Path(__file__).parent / "reference")
