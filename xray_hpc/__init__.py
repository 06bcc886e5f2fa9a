"""Sweeps of chest X-ray classifiers on Slurm clusters: launch, train, collect, compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xray_hpc.python_api import load_sweep

__all__ = ["__version__", "load_sweep"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import pandas when ``load_sweep`` is first used."""
    if name == "load_sweep":
        from xray_hpc.python_api import load_sweep

        return load_sweep
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
