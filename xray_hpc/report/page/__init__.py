"""Render ``report.html`` and the figures from a comparison."""
