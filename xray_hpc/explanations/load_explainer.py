"""Load the model of a request, to score images and to explain them."""

from __future__ import annotations

from xray_hpc.explanations.background_images import load_background
from xray_hpc.explanations.explain_images import Explainer
from xray_hpc.explanations.explain_request import ExplainRequest
from xray_hpc.explanations.grad_cam import GradCam
from xray_hpc.explanations.shap_values import ShapExplainer
from xray_hpc.models.load_scorer import Scorer, load_trained_model, make_scorer


def load_explainer(request: ExplainRequest) -> tuple[Scorer, Explainer]:
    """Return the functions from images to logits, and from images and labels to heatmaps.

    Raises:
        UserError: the model cannot be loaded or explained, or there are no images to compare with.
    """
    model = load_trained_model(request.keras_file, request.card)
    explainer: Explainer = (
        GradCam(model)
        if request.method == "grad_cam"
        else ShapExplainer(model, load_background(request))
    )
    return make_scorer(model, request.keras_file, request.card), explainer
