"""Commands that launch sweeps of ``ft`` over learning rates, depths and seeds."""

from __future__ import annotations

from itertools import product
from pathlib import Path

SIZES = (100, 1000, 2500)
ABOUT = "`-m model=ft` with 10 learning rates, 10 depths and as many seeds as needed."

_RATES = ("1e-6", "2e-6", "5e-6", "1e-5", "2e-5", "5e-5", "1e-4", "2e-4", "5e-4", "1e-3")
_DEPTHS = tuple(map(str, range(1, 11)))


def axes(size: int) -> list[str]:
    """Return the overrides of a sweep of ``size`` runs, a multiple of 100."""
    return [f"{key}={','.join(values)}" for key, values in _axes(size).items()]


def jobs(size: int) -> list[list[str]]:
    """Return the overrides of every run, in the order of Hydra's sweeper."""
    values_by_key = _axes(size)
    return [
        [f"{key}={value}" for key, value in zip(values_by_key, values, strict=True)]
        for values in product(*values_by_key.values())
    ]


def command(results: Path, size: int, cluster: str = "slurm") -> list[str]:
    """Return the arguments of ``python -m`` that launch the sweep into ``results``."""
    return ["xray_hpc.launch", "-m", *axes(size), f"cluster={cluster}", f"results={results}"]


def _axes(size: int) -> dict[str, tuple[str, ...]]:
    seeds = size // (len(_RATES) * len(_DEPTHS))
    return {
        "model": ("ft",),
        "train.learning_rate": _RATES,
        "model.unfreeze": _DEPTHS,
        "seed": tuple(map(str, range(1, seeds + 1))),
    }
