"""A model cut in two: a feature extractor that no training changes, and a trainable head.

The two share their layers with the whole model: what the trainable head learns, the whole model has
learnt.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from xray_hpc.models.layer_graph import flat_layers, input_names, input_tensor, output_tensor

LayerPath = tuple[str, ...]
"""A layer by its name; one of a backbone by the backbone's name and its own."""


def find_cut(model: keras.Model) -> LayerPath | None:
    """Where to cut ``model``: behind the last layer that is the only way on from a frozen part.

    What is frozen gives the same for an image in every epoch: it has no weights that train, and
    draws no random numbers. ``None`` where there are no weights of a backbone in that part.
    """
    return _last(model, nested=False)


def extractor_model(model: keras.Model, places: Sequence[LayerPath]) -> keras.Model:
    """From raw pixels to what ``model`` has at each of ``places``: a list of outputs.

    Of nested models at most one may hold places.
    """
    inside = list(dict.fromkeys(place for place in places if len(place) > 1))
    behind = list(dict.fromkeys(place for place in places if len(place) == 1))
    if not inside:
        return keras.Model(
            model.input, [output_tensor(model.get_layer(*place)) for place in places]
        )
    (name,) = {place[0] for place in inside}
    nested = model.get_layer(name)
    ends = extractor_model(nested, [place[1:] for place in inside]).outputs
    if behind:
        ends = [*ends, nested.output]
    tensors = keras.tree.flatten(keras.Model(nested.input, ends)(input_tensor(nested)))
    if behind:
        rest = keras.Model(
            output_tensor(nested), [output_tensor(model.get_layer(*place)) for place in behind]
        )
        tensors += keras.tree.flatten(rest(tensors.pop()))
    found = dict(zip([*inside, *behind], tensors, strict=True))
    return keras.Model(model.input, [found[place] for place in places])


def extractor_layers(model: keras.Model, place: LayerPath) -> list[keras.Layer]:
    """The layers of the feature extractor that ends at ``place``; it need not be built for that."""
    name, *rest = place
    layer = model.get_layer(name)
    if not rest:
        return list(flat_layers(keras.Model(model.input, output_tensor(layer))))
    before = flat_layers(keras.Model(model.input, input_tensor(layer)))
    return [*before, *extractor_layers(layer, tuple(rest))]


def feature_shape(model: keras.Model, place: LayerPath) -> tuple[int, ...]:
    """The shape of what ``model`` has at ``place`` of one image."""
    for name in place:
        model = model.get_layer(name)
    return tuple(output_tensor(model).shape[1:])


def trainable_head(model: keras.Model, place: LayerPath) -> keras.Model:
    """From what ``model`` has at ``place`` to its scores."""
    name, *rest = place
    layer = model.get_layer(name)
    if not rest:
        return keras.Model(output_tensor(layer), model.output, name=model.name)
    inner = trainable_head(layer, tuple(rest))
    inputs = keras.Input(inner.input_shape[1:], dtype=inner.inputs[0].dtype, name="features")
    head = keras.Model(output_tensor(layer), model.output, name="head")
    return keras.Model(inputs, head(inner(inputs)), name=model.name)


def _last(model: keras.Model, *, nested: bool) -> LayerPath | None:
    """The place of the cut; any weights make it worth one where ``model`` is a nested one."""
    last_use = {name: at for at, layer in enumerate(model.layers) for name in input_names(layer)}
    still: set[str] = set()
    crossing: set[str] = set()  # layers that something behind here takes
    worth, place = False, None
    for at, layer in enumerate(model.layers):
        crossing = {name for name in crossing if last_use[name] > at}
        before = still.issuperset(input_names(layer))
        if before and _is_still(layer):
            still.add(layer.name)
            worth = worth or bool(layer.weights and (nested or isinstance(layer, keras.Model)))
        elif before and not crossing and isinstance(layer, keras.Model):
            inner = _last(layer, nested=True)
            return place if inner is None else (layer.name, *inner)
        if layer.name in last_use:
            crossing.add(layer.name)
            if worth and layer.name in still and crossing == {layer.name}:
                place = (layer.name,)
    return place


def _is_still(layer: keras.Layer) -> bool:
    """Whether it gives the same for the same input all through a training."""
    if isinstance(layer, keras.Model):
        return all(map(_is_still, layer.layers))
    # The state of a random generator is a variable, but no weight.
    draws = isinstance(layer, keras.layers.Dropout) or len(layer.variables) > len(layer.weights)
    return not draws and not (layer.weights and layer.trainable)
