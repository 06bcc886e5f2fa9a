"""Cut a model into its frozen feature extractor and its trainable head.

Both parts share their layers with the model: training the head trains the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from xray_hpc.models.layer_graph import flat_layers, input_names, input_tensor, output_tensor

LayerPath = tuple[str, ...]
"""The name of a layer; for a layer of a nested model, the model's name and its own."""


def find_cut(model: keras.Model, *, nested: bool = False) -> LayerPath | None:
    """Return the layer after which to cut: the last one through which all frozen outputs pass.

    The frozen part has no trainable weights and draws no random numbers. The result is None if it
    contains no weights of a backbone. With ``nested``, the model itself is a backbone.
    """
    last_use = {name: at for at, layer in enumerate(model.layers) for name in input_names(layer)}
    frozen: set[str] = set()
    open_outputs: set[str] = set()  # layers whose output is an input of a later layer
    worthwhile, cut = False, None
    for at, layer in enumerate(model.layers):
        open_outputs = {name for name in open_outputs if last_use[name] > at}
        frozen_inputs = frozen.issuperset(input_names(layer))
        if frozen_inputs and _is_frozen(layer):
            frozen.add(layer.name)
            if layer.weights and (nested or isinstance(layer, keras.Model)):
                worthwhile = True
        elif frozen_inputs and not open_outputs and isinstance(layer, keras.Model):
            inner = find_cut(layer, nested=True)
            return cut if inner is None else (layer.name, *inner)
        if layer.name in last_use:
            open_outputs.add(layer.name)
            if worthwhile and layer.name in frozen and open_outputs == {layer.name}:
                cut = (layer.name,)
    return cut


def extractor_model(model: keras.Model, cuts: Sequence[LayerPath]) -> keras.Model:
    """Return a model from raw pixels to a list of the outputs of ``model`` at each cut.

    At most one nested model may contain cuts.
    """
    nested_cuts = list(dict.fromkeys(cut for cut in cuts if len(cut) > 1))
    outer_cuts = list(dict.fromkeys(cut for cut in cuts if len(cut) == 1))
    if not nested_cuts:
        return keras.Model(model.input, [output_tensor(model.get_layer(*cut)) for cut in cuts])
    (name,) = {cut[0] for cut in nested_cuts}
    nested = model.get_layer(name)
    ends = extractor_model(nested, [cut[1:] for cut in nested_cuts]).outputs
    if outer_cuts:
        ends = [*ends, nested.output]
    tensors = keras.tree.flatten(keras.Model(nested.input, ends)(input_tensor(nested)))
    if outer_cuts:
        outer_ends = [output_tensor(model.get_layer(*cut)) for cut in outer_cuts]
        rest = keras.Model(output_tensor(nested), outer_ends)
        tensors += keras.tree.flatten(rest(tensors.pop()))
    tensor_at = dict(zip([*nested_cuts, *outer_cuts], tensors, strict=True))
    return keras.Model(model.input, [tensor_at[cut] for cut in cuts])


def extractor_layers(model: keras.Model, cut: LayerPath) -> list[keras.Layer]:
    """Return the layers of the feature extractor that ends at ``cut``, without building it."""
    name, *rest = cut
    layer = model.get_layer(name)
    if not rest:
        return list(flat_layers(keras.Model(model.input, output_tensor(layer))))
    before = flat_layers(keras.Model(model.input, input_tensor(layer)))
    return [*before, *extractor_layers(layer, tuple(rest))]


def feature_shape(model: keras.Model, cut: LayerPath) -> tuple[int, ...]:
    """Return the shape of the features of one image at ``cut``."""
    for name in cut:
        model = model.get_layer(name)
    return tuple(output_tensor(model).shape[1:])


def trainable_head(model: keras.Model, cut: LayerPath) -> keras.Model:
    """Return a model from the features at ``cut`` to the outputs of ``model``."""
    name, *rest = cut
    layer = model.get_layer(name)
    if not rest:
        return keras.Model(output_tensor(layer), model.output, name=model.name)
    inner = trainable_head(layer, tuple(rest))
    inputs = keras.Input(inner.input_shape[1:], dtype=inner.inputs[0].dtype, name="features")
    outer = keras.Model(output_tensor(layer), model.output, name="head")
    return keras.Model(inputs, outer(inner(inputs)), name=model.name)


def _is_frozen(layer: keras.Layer) -> bool:
    """Return whether the layer computes the same for the same input throughout a training."""
    if isinstance(layer, keras.Model):
        return all(map(_is_frozen, layer.layers))
    # The state of a random generator is a variable, but not a weight.
    is_random = isinstance(layer, keras.layers.Dropout) or len(layer.variables) > len(layer.weights)
    return not is_random and not (layer.weights and layer.trainable)
