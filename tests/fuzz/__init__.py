"""Fuzzers of the commands: damaged sweeps, values of wrong types, hostile images and data sets."""
