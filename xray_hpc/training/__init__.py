"""Training one run in its folder, with TensorFlow."""
