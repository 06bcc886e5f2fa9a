"""Make ``extractors.json`` again: ``python -m xray_hpc.features.measure_cost``.

It tells launches where backbones can be cut. This builds every backbone, and looks for the cut at
every depth as a training does: a minute or two.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import keras

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.features.cost import FILE, SIDE
from xray_hpc.features.cut import extractor_layers, feature_shape, find_cut
from xray_hpc.models.backbones import freeze
from xray_hpc.models.build_model import build_model
from xray_hpc.models.layer_graph import flat_layers
from xray_hpc.models.registry import BACKBONES

Row = list[int | float]


def measure(name: str) -> list[Row]:
    """Return the rows of ``extractors.json`` for a backbone: see ``cost.FeatureExtractor``."""
    config = ModelConfig(
        "ft", backbone=name, weights="none", unfreeze=1, head_units=128, head_dropout=0.1
    )
    model = build_model(config, (SIDE, SIDE, BACKBONES[name].channels), 2)
    backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    whole, rows, last = work(flat_layers(model)), [], None
    for unfreeze in range(len(backbone.layers) + 1):
        freeze(backbone, unfreeze)
        place = find_cut(model)
        if place is None:
            break
        if place != last:
            *sides, channels = feature_shape(model, place)
            share = work(extractor_layers(model, place)) / whole
            rows.append([0, sides[0] if sides else 0, channels, round(share, 4)])
            last = place
        rows[-1][0] = unfreeze
    return rows


def work(layers: Iterable[keras.Layer]) -> int:
    """Multiplications of one forward pass of one image, in the layers that have kernels."""
    return sum(map(_multiplications, layers))


def _multiplications(layer: keras.Layer) -> int:
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    if isinstance(layer, keras.layers.Dense):
        return int(math.prod(kernel.shape))
    pixels = math.prod(layer.output.shape[1:-1])
    return int(pixels * math.prod(kernel.shape))


def main() -> None:
    """The command."""
    table = {name: measure(name) for name in BACKBONES}
    lines = [f'  "{name}": {json.dumps(rows)}' for name, rows in table.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{FILE}: {', '.join(f'{name} {len(rows)} cuts' for name, rows in table.items())}")


if __name__ == "__main__":
    main()
