"""Counts and sizes as text for messages."""

from __future__ import annotations


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """Format a count with its noun: ``"1 file"``, ``"5,856 files"``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def format_bytes(count: int) -> str:
    """Format a number of bytes in KiB, or in MiB from one MiB up."""
    return f"{count / 2**20:,.0f} MiB" if count >= 2**20 else f"{count / 2**10:,.0f} KiB"
