"""Sweeps of chest X-ray classifiers on Slurm clusters: launch, train, collect, compare."""

__version__ = "0.1.0"
