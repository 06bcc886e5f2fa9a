"""Scoring images with a trained model."""
