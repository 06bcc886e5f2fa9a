"""Statistics of classifiers whose images are clustered by patient: pure functions on arrays."""
