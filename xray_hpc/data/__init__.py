"""Which images there are, whose they are, and how they reach the models."""
