"""A table of a model's layers as text, for ``model.txt``.

``keras.Model.summary(expand_nested=True)`` is not used: away from a terminal it cuts the table off
at 80 columns, before the numbers of weights, and it shows the numbers that Keras gives to unnamed
layers, which depend on what else the process has built.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import keras


def model_summary(model: keras.Model) -> str:
    """Return a table with one line per layer, nested models included; equal models, equal text."""
    total, trained = model.count_params(), count_trainable(model)
    rows = [("layer", "kind", "output", "weights", "trained"), *_rows(model, "")]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [f"{model.name}: {total:,} weights, {trained:,} of them trained", ""]
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=False)]
        right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join(left + right).rstrip())
    return "\n".join(lines) + "\n"


def count_trainable(layer: keras.Layer) -> int:
    """Return the number of weights of a layer (or model) that training updates."""
    return sum(math.prod(variable.shape) for variable in layer.trainable_variables)


def _rows(model: keras.Model, indent: str) -> Iterator[tuple[str, str, str, str, str]]:
    for layer in model.layers:
        kind, weights = type(layer).__name__, layer.count_params()
        # Keras numbers unnamed layers throughout the process.
        name = re.sub(r"_\d+$", "", layer.name)
        name = name if name.replace("_", "") == kind.lower() else layer.name
        shape = " x ".join(str(side) for side in layer.output.shape[1:])
        trained = f"{count_trainable(layer):,}" if weights else ""
        yield f"{indent}{name}", kind, shape, f"{weights:,}" if weights else "", trained
        if isinstance(layer, keras.Model):
            yield from _rows(layer, f"{indent}  ")
