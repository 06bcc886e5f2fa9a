"""Train one run in its folder, with TensorFlow."""
