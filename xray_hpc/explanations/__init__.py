"""Explain predictions: Grad-CAM, SHAP and the worst misses of a run."""
