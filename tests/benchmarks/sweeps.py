"""The sweeps that are launched, and the command that launches them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from measuring import Sample, median_cpu, python, timed
from table import TIMES, number, times

COLUMNS = ("what", "runs", *TIMES, "CPU-ms a run")
SIZES = (3, 300)

_RATES = ("1e-6", "2e-6", "5e-6", "1e-5", "2e-5", "5e-5", "1e-4", "2e-4", "5e-4", "1e-3")
_DEPTHS = tuple(map(str, range(1, 11)))
_AXES: dict[int, dict[str, tuple[str, ...]]] = {
    3: {"model": ("cnn", "tl", "ft")},
    300: {
        "model": ("ft",),
        "train.learning_rate": _RATES,
        "model.unfreeze": _DEPTHS,
        "seed": ("1", "2", "3"),
    },
}
ABOUT = (
    "3 runs are `model=cnn,tl,ft`; 300 are 10 learning rates, 10 depths and 3 seeds of `ft`. "
    "Start-up is included."
)


def jobs(size: int) -> list[list[str]]:
    """The overrides of every run of the sweep, as Hydra's sweeper splits them."""
    axes = _AXES[size]
    return [
        [f"{key}={value}" for key, value in zip(axes, values, strict=True)]
        for values in product(*axes.values())
    ]


def command(results: Path, size: int, cluster: str) -> list[str]:
    """The words after ``python -m``."""
    axes = [f"{key}={','.join(values)}" for key, values in _AXES[size].items()]
    return ["xray_hpc.launch", "-m", *axes, f"cluster={cluster}", f"results={results}"]


def launch(results: Path, size: int, cluster: str, **environment: str) -> Sample:
    """Launch the sweep into ``results``; again where it is there already."""
    words = command(results, size, cluster)
    return timed(lambda: python("-m", *words, **environment))


def row(what: str, size: int, samples: Sequence[Sample]) -> Sequence[str]:
    """The cells under ``COLUMNS``."""
    return what, str(size), *times(samples), number(1000 * median_cpu(samples) / size)
