"""Builders of detectors and segmenters, from the builder of a head and that of a classifier."""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from spikeformers.layers.contracts import MakeNeuron
from spikeformers.models.network import SpikingTransformer
from spikeformers.neurons.integer import Integer
from spikeformers.ops.arguments import check_whole

_ENDS = ("head", "head_neuron", "num_classes", "image_size")  # arguments of a classifier that the head replaces


class DenseHead(NamedTuple):
    """A kind of detector or segmenter.

    Attributes:
        builder: From a trunk and its own arguments to the model. Its name begins the models' names.
        task: "detection" or "segmentation".
        neuron: From the neuron of the trunk to that of neck and head, unless they are given their own.
    """

    builder: Callable[..., SpikingTransformer]
    task: str
    neuron: Callable[[MakeNeuron], MakeNeuron]


@functools.cache
def dense_model(head: DenseHead, backbone: Callable[..., SpikingTransformer]) -> Callable[..., SpikingTransformer]:
    """The builder of a head's models on the trunks of a family: it takes the arguments of both.

    The neck's `FPN` reads the ends of the family's stages. A flat trunk, of one width `dim`, has one size of map, and
    so `SimplePyramid`.
    """
    theirs = inspect.signature(backbone).parameters
    defaults = {
        "image_size": theirs["image_size"].default,
        "neck": "SimplePyramid" if "dim" in theirs else "FPN",
        **neurons(head, theirs["neuron"].default),
    }
    ours = {
        name: parameter.replace(default=defaults.get(name, parameter.default))
        for name, parameter in inspect.signature(head.builder).parameters.items()
        if name != "trunk"
    }

    def build(**arguments: Any) -> SpikingTransformer:
        own = {name: arguments.pop(name) for name in ours if name in arguments}
        check_whole(why="give as many as there are to find", num_classes=own.get("num_classes", 1))
        sides = own.get("image_size", defaults["image_size"])
        trunk = backbone(**arguments, num_classes=0, image_size=max(sides) if isinstance(sides, tuple) else sides)
        return head.builder(trunk, **{**defaults, **own})

    build.__name__ = build.__qualname__ = f"{head.builder.__name__}_{backbone.__name__}"
    build.__doc__, build.__module__ = head.builder.__doc__, backbone.__module__
    vars(build)["__wrapped__"] = head.builder
    kept = {name: parameter for name, parameter in theirs.items() if name not in _ENDS}
    vars(build)["__signature__"] = inspect.Signature([*kept.values(), *ours.values()])
    vars(build)["derived"] = lambda arguments: neurons(head, arguments["neuron"]) if "neuron" in arguments else {}
    build.__annotations__ = {**typing.get_type_hints(backbone), **typing.get_type_hints(head.builder)}
    return build


def on_size(head: DenseHead, size: Mapping[str, Any]) -> dict[str, Any]:
    """A size of a family as a size of its detectors: without the classifier's end."""
    kept = {name: value for name, value in size.items() if name not in _ENDS}
    made_for = {"image_size": size["image_size"]} if "image_size" in size else {}
    return {**kept, **made_for, **(neurons(head, size["neuron"]) if "neuron" in size else {})}


def neurons(head: DenseHead, neuron: MakeNeuron) -> dict[str, MakeNeuron]:
    return dict.fromkeys(("neck_neuron", "head_neuron"), head.neuron(neuron))


def undivided(neuron: MakeNeuron) -> MakeNeuron:
    """The neuron, its counts not divided by their maximum if it has any: that of the released detectors."""
    made: Any = neuron
    kind, given = (made.func, made.keywords) if isinstance(made, partial) else (made, {})
    is_integer = isinstance(kind, type) and issubclass(kind, Integer)
    return partial(kind, **{**given, "unit": 1.0}) if is_integer else neuron
