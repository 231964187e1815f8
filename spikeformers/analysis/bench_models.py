"""Ways to run a model by name: plain, memory-lean, compiled, in SpikingJelly, or for inference only."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.analysis.bench import Speed, bare_products, bench
from spikeformers.analysis.inference_ways import INFERENCE_WAYS, inference_way
from spikeformers.checkpoints import create_model
from spikeformers.models import SpikingTransformer, compile, recompute_blocks
from spikeformers.models.registry import describe_model, list_models

WAYS = ("plain", "lean", "compiled", "spikingjelly", "spikingjelly-compiled", *INFERENCE_WAYS)


def bench_ways(
    name: str, ways: Sequence[str], *, batch_size: int = 16, bf16: bool = False, repeats: int = 5, **overrides: Any
) -> tuple[list[Speed], tuple[float, float]]:
    """Speed and memory of a model by name, run in some of `WAYS`, and its `bare_products`; on a GPU if there is one.

    Weights are random, so their spike densities, which set the engine's speed, are not those of a trained model;
    `benchmarks/engine.py` uses trained ones. `overrides` go to `create_model`. Raises ValueError for an unknown way or
    a model that SpikingJelly does not have.
    """
    if unknown := [way for way in ways if way not in WAYS]:
        raise ValueError(f"there is no way {unknown[0]!r} to run a model: choose from {', '.join(WAYS)}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    plain = make_way("plain", name, **overrides).to(device)
    x = random_input(plain, batch_size).to(device)
    if (bf16 or device.type == "cuda") and (on_cpu := [way for way in ways if way in INFERENCE_WAYS]):
        raise ValueError(f"{on_cpu[0]} runs in fp32 or int8 on a CPU only: leave out either it, or --bf16 and the GPU")
    models = {
        way: _for_inference(way, name, x, **overrides)
        if way in INFERENCE_WAYS
        else make_way(way, name, **overrides).to(device)
        for way in ways
    }
    speeds = bench(models, x, bf16=bf16, repeats=repeats, after=clear_state)
    return speeds, bare_products(plain, x, bf16=bf16, repeats=repeats)


def usual_ways(name: str, **overrides: Any) -> list[str]:
    """The ways to compare if none are asked for: SpikingJelly's too where it is installed and has the model."""
    try:
        theirs = spikingjelly_counterpart(create_model(name, **overrides))
    except ImportError:
        theirs = None
    return ["plain", "lean", *(["spikingjelly"] if theirs is not None else [])]


def make_way(way: str, name: str, **overrides: Any) -> Any:
    """A model by name for one of `WAYS`.

    Raises ValueError for a model that SpikingJelly does not have, ImportError if it is not installed.
    """
    model = create_model(name, **overrides)
    if way.startswith("spikingjelly"):
        try:
            counterpart = spikingjelly_counterpart(model)
        except ImportError as error:
            raise ImportError(f"{way} needs SpikingJelly: pip install 'spikeformers[spikingjelly]'") from error
        if counterpart is None:
            raise ValueError(f"SpikingJelly has no {name}: leave SpikingJelly out, as in --ways plain,lean")
        return torch.compile(counterpart) if way.endswith("compiled") else counterpart
    model = model.to(memory_format=torch.channels_last)
    if way == "compiled":
        return compile(model, backend="inductor")
    return recompute_blocks(model) if way == "lean" else model


def _for_inference(way: str, name: str, x: Tensor, **overrides: Any) -> nn.Module:
    """A model with random weights, and norms set by `x`, without which hardly any neuron would fire."""
    model = create_model(name, **overrides)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train().forward_outputs(x)
    return inference_way(way, model.eval(), x)


def random_input(model: SpikingTransformer, batch_size: int) -> Tensor:
    """Random images `[B, C, H, W]`, or, for a model of events, frames `[T, B, C, H, W]`.

    An image is repeated at all steps, and the stem computes it once; frames differ from step to step.
    """
    image = (batch_size, *model.image_shape)
    name = f"_{model.config.get('name')}"  # a detector's ends in that of its trunk
    learnt_from = [describe_model(size)["data"] for size in list_models() if name.endswith(f"_{size}")]
    if model.in_channels == 2 or any("DVS" in data for data in learnt_from):  # some papers give events a third channel
        return torch.rand(model.time_steps, *image)
    return torch.randn(*image)


def spikingjelly_counterpart(model: SpikingTransformer) -> nn.Module | None:
    """The same architecture at the same size from SpikingJelly 2, multi-step, or None if it has none.

    Call `clear_state` after every forward pass. Raises ImportError if SpikingJelly is not installed.
    """
    config: dict[str, Any] = model.config
    ends: dict[str, Any] = dict(T=model.time_steps, in_channels=model.in_channels, num_classes=model.num_classes)
    name = str(config.get("name"))
    if name.startswith("spikformer_") and config["stem"] == "SPS" and config["depth"] and model.image_size % 16 == 0:
        from spikingjelly.activation_based.model.spikformer import Spikformer

        size = dict(img_size_h=model.image_size, img_size_w=model.image_size, patch_size=prod(config["strides"]))
        width = dict(embed_dims=config["dim"], num_heads=config["num_heads"], depths=config["depth"])
        return Spikformer(**ends, **size, **width, mlp_ratio=float(config["mlp_ratio"]))
    if name == "qkformer_10_384":
        from spikingjelly.activation_based.model.qkformer import qkformer_10_384

        return qkformer_10_384(**ends)
    if name == "sdt_8_384":
        from spikingjelly.activation_based.model.spike_driven_transformer import sdt_8_384

        return sdt_8_384(**ends)
    return None


def clear_state(model: nn.Module) -> None:
    """Resets SpikingJelly's neurons. This library's neurons keep no state."""
    if not isinstance(model, SpikingTransformer):
        from spikingjelly.activation_based.functional import reset_net

        reset_net(model)
