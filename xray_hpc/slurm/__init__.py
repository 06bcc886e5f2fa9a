"""Slurm's commands and the parsers of their output."""
