"""Typed configuration: defaults, validation and composition."""
