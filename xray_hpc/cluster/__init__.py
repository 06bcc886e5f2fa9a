"""Launching runs: here, or on a Slurm cluster."""
