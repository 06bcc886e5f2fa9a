"""The frozen feature extractor of a model, and its cached features."""
