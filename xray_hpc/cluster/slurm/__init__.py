"""Slurm's commands and what they say."""
