from __future__ import annotations

import hashlib
import io

import keras
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.models.build_model import build_model
from xray_hpc.models.model_diagram import COLOURS, draw_model

CONFIGS = {
    "cnn": ModelConfig("cnn"),
    "tl": ModelConfig(
        "tl", "demo", "none", head_units=8, head_dropout=0.1, preprocessing="backbone"
    ),
    "ft": ModelConfig(
        "ft", "demo", "none", 7, head_units=8, head_dropout=0.1, preprocessing="backbone"
    ),
    "stacked": ModelConfig(
        "stacked", backbones={"demo": "none", "mobilenet_v2": "none"}, preprocessing="midrange"
    ),
    "conv": ModelConfig("conv", preprocessing="midrange"),
    "lung": ModelConfig("lung", output="softmax"),
    "vgg": ModelConfig("vgg"),
}


def model(name: str, channels: int = 1) -> keras.Model:
    return build_model(CONFIGS[name], (64, 64, channels), 2)


def texts(figure: Figure) -> list[str]:
    """Return the texts of a figure, with plain spaces and ``x``."""
    found = [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    return [text.replace("\xa0", " ").replace("\N{MULTIPLICATION SIGN}", "x") for text in found]


def boxes(figure: Figure) -> list[FancyBboxPatch]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]


def test_box_holds_a_layer_with_its_activation_and_pooling() -> None:
    figure = draw_model(model("cnn"))
    assert texts(figure)[:5] == [
        "CNN",
        "163,025 weights, 162,801 of them trained",
        "X-ray, pixels 0 to 255",
        "64 x 64 x 1",
        "scaled to 0 to 1",
    ]
    assert "convolution 3 x 3, 16 filters" in texts(figure)
    assert "batch normalization · ReLU · max pooling 2 x 2 · dropout 0.2" in texts(figure)
    assert texts(figure)[-3:] == ["dense, 1 unit", "sigmoid", "65 weights, trained"]
    assert len(boxes(figure)) == 8


def test_backbone_is_one_box_with_its_trained_layers() -> None:
    words = texts(draw_model(model("ft", channels=3)))
    assert "25 layers, the last 7 trained · global average pooling" in words
    assert "292,304 weights, 221,696 of them trained" in words
    assert "RGB to grey" in words


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("lung", ["none", "none", "trained", "trained", "trained"]),
        ("tl", ["none", "none", "frozen", "trained", "trained"]),
        ("ft", ["none", "none", "partly", "trained", "trained"]),
    ],
)
def test_trained_and_frozen_boxes_differ_in_colour_and_text(name: str, kinds: list[str]) -> None:
    figure = draw_model(model(name))
    fills = [to_hex(box.get_facecolor()).upper() for box in boxes(figure)]
    assert fills == [COLOURS[kind][0] for kind in kinds]
    words = [text for text in texts(figure)[2:] if "weights" in text]
    ends = {"frozen": "weights, frozen", "partly": "of them trained", "trained": "weights, trained"}
    for text, kind in zip(words, [kind for kind in kinds if kind != "none"], strict=True):
        assert text.endswith(ends[kind])


def test_branches_of_a_stacked_model_are_side_by_side() -> None:
    figure = draw_model(model("stacked"))
    rows: dict[float, list[float]] = {}
    for box in boxes(figure):
        rows.setdefault(round(box.get_y(), 3), []).append(box.get_x())
    assert [len(row) for row in rows.values()] == [1, 2, 2, 1, 1, 1, 1]
    first, second = list(rows.values())[1:3]
    assert sorted(first) == sorted(second)


@pytest.mark.parametrize("name", CONFIGS)
def test_texts_fit_and_do_not_overlap(name: str) -> None:
    figure = draw_model(model(name))
    renderer = FigureCanvasAgg(figure).get_renderer()
    shown = [text for text in figure.axes[0].texts if text.get_text()]
    places = [text.get_window_extent(renderer) for text in shown]
    width, height = figure.get_size_inches() * figure.dpi
    for number, (text, place) in enumerate(zip(shown, places, strict=True)):
        assert place.x0 >= 0, text
        assert place.y0 >= 0, text
        assert place.x1 <= width, text
        assert place.y1 <= height, text
        assert not any(place.overlaps(other) for other in places[:number]), text
    frames = [box.get_window_extent(renderer) for box in boxes(figure)]
    for text, place in zip(shown, places, strict=True):
        around = [frame for frame in frames if frame.overlaps(place)]
        for frame in around:
            assert frame.x0 < place.x0, text
            assert place.x1 < frame.x1, text


def digest(figure: Figure) -> str:
    FigureCanvasAgg(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return hashlib.sha256(file.getvalue()).hexdigest()


def test_draw_model_is_deterministic() -> None:
    assert digest(draw_model(model("stacked"))) == digest(draw_model(model("stacked")))
