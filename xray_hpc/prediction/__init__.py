"""Score images with a trained model."""
