"""Write ``extractors.json``: ``python -m xray_hpc.features.measure_extractor_costs``.

The table tells launches where each backbone is cut at each depth. Building all backbones takes a
minute or two; run it again after adding a backbone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import keras

from xray_hpc.config.run_config import ModelConfig
from xray_hpc.features.extractor_costs import REFERENCE_SIDE, TABLE_FILE
from xray_hpc.features.model_cut import extractor_layers, feature_shape, find_cut
from xray_hpc.models.build_backbone import freeze
from xray_hpc.models.build_model import build_model
from xray_hpc.models.layer_graph import flat_layers
from xray_hpc.models.registry import BACKBONES


def measure_extractors(name: str) -> list[list[int | float]]:
    """Return the rows of the table for a backbone, each the fields of a ``FeatureExtractor``."""
    config = ModelConfig("ft", name, "none", unfreeze=1, head_units=128, head_dropout=0.1)
    model = build_model(config, (REFERENCE_SIDE, REFERENCE_SIDE, BACKBONES[name].channels), 2)
    backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    total, rows, previous = count_multiplications(flat_layers(model)), [], None
    for unfreeze in range(len(backbone.layers) + 1):
        freeze(backbone, unfreeze)
        cut = find_cut(model)
        if cut is None:
            break
        if cut != previous:
            *sides, channels = feature_shape(model, cut)
            share = count_multiplications(extractor_layers(model, cut)) / total
            rows.append([0, sides[0] if sides else 0, channels, round(share, 4)])
            previous = cut
        rows[-1][0] = unfreeze
    return rows


def count_multiplications(layers: Iterable[keras.Layer]) -> int:
    """Return the multiplications of the forward pass of one image in layers with kernels."""
    return sum(
        # A dense layer has no pixels: the product of no sides is 1.
        math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
        for layer in layers
        if getattr(layer, "kernel", None) is not None
    )


def main() -> None:
    """Measure every backbone and write the table."""
    table = {name: measure_extractors(name) for name in BACKBONES}
    lines = [f'  "{name}": {json.dumps(rows)}' for name, rows in table.items()]
    TABLE_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{TABLE_FILE}: {', '.join(f'{name} {len(rows)} cuts' for name, rows in table.items())}")


if __name__ == "__main__":
    main()
