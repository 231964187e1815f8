"""Attention maps. Products of spikes have no softmax, so each kind of attention has its own map, with a description."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.layers.attention import DSSA, MSSA, QKCA, QKTA, SDSA, SSA, ChannelMSSA, PooledSDSA, WideSSA, WindowSSA
from spikeformers.layers.attention.heads import split_heads
from spikeformers.layers.attention.xnor import XNOR
from spikeformers.layers.contracts import declared
from spikeformers.layers.pruning import TokenPruning
from spikeformers.models import SpikingTransformer


@dataclass(frozen=True)
class AttentionMap:
    """Maps of an attention part: `values` are `[T, B, M, h, w]`, not negative; `shows` describes them in words."""

    name: str
    shows: str
    values: Tensor


@torch.no_grad()
def attention_maps(model: SpikingTransformer, x: Tensor) -> list[AttentionMap]:
    """Attention maps of a model for one batch.

    Args:
        model: runs uncompiled and in eval mode; its training mode is restored afterwards.
        x: images `[B, C, H, W]` or sequences `[T, B, C, H, W]`.

    Returns:
        One entry per attention part, in order, but none for a block with pruned tokens, whose map has gaps. A part of
        a user's own has a map if it derives from a part of this library, or has a `q_neuron` and a `k_neuron` with
        outputs `[T, B, C, H, W]`.
    """
    caught: dict[str, dict[str, Tensor]] = {}
    pruned = {inside for block in model.modules() if isinstance(block, TokenPruning) for inside in block.modules()}
    parts = {
        name: module
        for name, module in model.named_modules()
        if hasattr(module, "attn_neuron") and module not in pruned
    }
    training = [module for module in model.modules() if module.training]
    with ExitStack() as on:
        on.callback(lambda: [setattr(module, "training", True) for module in training])
        on.enter_context(torch.compiler.set_stance("force_eager"))
        for name, part in parts.items():
            caught[name] = {}
            on.callback(part.register_forward_pre_hook(_catch_input(caught[name])).remove)
            for child in ("q_neuron", "k_neuron", "v_neuron", "attn_neuron"):
                if hasattr(part, child):
                    on.callback(getattr(part, child).register_forward_hook(_catch(caught[name], child)).remove)
        model.eval()(x)
    maps = []
    for name, part in parts.items():
        shows, draw = next((m for kind, m in _MAPS.items() if isinstance(part, kind)), _MAPS[SSA])
        if isinstance(part, tuple(_MAPS)) or {"q_neuron", "k_neuron"} <= set(caught[name]):
            maps.append(AttentionMap(name, shows, draw(part, caught[name])))
    return maps


def _catch(into: dict[str, Tensor], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        into[name] = output.detach()

    return hook


def _catch_input(into: dict[str, Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        into["x"] = inputs[0].detach()

    return hook


def _received(part: Any, seen: dict[str, Tensor]) -> Tensor:
    """For each key token, the number of its spikes that coincide with spikes of any query."""
    q = split_heads(seen["q_neuron"], declared(part, "num_heads"))  # T B M N D
    k = split_heads(seen["k_neuron"], seen["k_neuron"].shape[2] // q.shape[-1])  # SEMM's experts share a head
    received = (k * q.sum(-2, keepdim=True)).sum(-1)  # T B M N
    return received.unflatten(-1, seen["k_neuron"].shape[-2:])


def _received_in_window(part: Any, seen: dict[str, Tensor]) -> Tensor:
    """For each key token, the number of its spikes that coincide with spikes of any query of its window."""
    q, k = (split_heads(seen[name], part.num_heads) for name in ("q_neuron", "k_neuron"))  # T B M N D
    height, width = seen["k_neuron"].shape[-2:]
    windows = part.windows(torch.arange(height * width, device=q.device).view(height, width))  # windows, tokens
    received = (k[..., windows, :] * q[..., windows, :].sum(-2, keepdim=True)).sum(-1).flatten(-2)
    return received.new_zeros(k.shape[:-1]).index_copy(-1, windows.flatten(), received).unflatten(-1, (height, width))


def _agreed(part: Any, seen: dict[str, Tensor]) -> Tensor:
    """For each key token, the number of its bits that equal those of a query, over all queries."""
    q, k = (split_heads(seen[name], part.num_heads) for name in ("q_neuron", "k_neuron"))  # T B M N D
    ones = q.sum(-2, keepdim=True)
    equal = (k * ones + (1 - k) * (q.shape[-2] - ones)).sum(-1)
    return equal.unflatten(-1, seen["k_neuron"].shape[-2:])


def _patches(part: Any, seen: dict[str, Tensor]) -> Tensor:
    """For each patch, the number of tokens whose attention map fires there."""
    height, width = (size // part.patch_size for size in seen["x"].shape[-2:])
    return seen["attn_neuron"].sum(-2).unflatten(-1, (height, width))


def _kept_tokens(part: Any, seen: dict[str, Tensor]) -> Tensor:
    return seen["attn_neuron"].squeeze(3)  # T B M H W


def _kept_channels_of_tokens(part: Any, seen: dict[str, Tensor]) -> Tensor:
    return seen["attn_neuron"].sum(3)  # T B M D H W


def _kept_channels(name: str) -> Callable[[Any, dict[str, Tensor]], Tensor]:
    def draw(part: Any, seen: dict[str, Tensor]) -> Tensor:
        kept = seen[name] * seen["attn_neuron"]  # T B C H W
        return kept.unflatten(2, (getattr(part, "num_heads", 1), -1)).sum(3)

    return draw


def _kept_channels_pooled(part: Any, seen: dict[str, Tensor]) -> Tensor:
    q = seen["q_neuron"]
    tokens = split_heads(q, part.num_heads) * seen["attn_neuron"]  # T B M N D
    return tokens.sum(-1).unflatten(-1, q.shape[-2:])


_RECEIVED = "for each key, spikes of all queries that coincide with its own: the row sums of k q^T, unscaled"
_TOKENS = "key tokens that the queries keep (1) or drop (0)"
_CHANNELS = "spikes in the channels that the mask keeps; the mask is the same at every position"
_MAPS: dict[type[nn.Module], tuple[str, Callable[[Any, dict[str, Tensor]], Tensor]]] = {  # subclasses first
    WindowSSA: (f"{_RECEIVED}, in its window", _received_in_window),
    XNOR: ("for each key, bits that equal those of a query, over all queries", _agreed),
    SSA: (_RECEIVED, _received),
    WideSSA: (_RECEIVED, _received),
    QKTA: (_TOKENS, _kept_tokens),
    ChannelMSSA: ("for each key token, its channels that the queries keep", _kept_channels_of_tokens),
    MSSA: (_TOKENS, _kept_tokens),
    QKCA: (_CHANNELS, _kept_channels("k_neuron")),
    SDSA: (_CHANNELS, _kept_channels("q_neuron")),
    PooledSDSA: (f"{_CHANNELS}; before the last pooling", _kept_channels_pooled),
    DSSA: ("for each patch, tokens whose spiking map fires there", _patches),
}


def relevance(model: SpikingTransformer, x: Tensor, classes: Tensor | None = None) -> Tensor:
    """Grad-CAM on the output of the last block: where it supports a class.

    Channels are weighted by their mean gradient and summed; negative sums become 0. Gradients through neurons are
    surrogate gradients. Selvaraju et al., ICCV 2017, arXiv:1610.02391.

    Args:
        model: runs in eval mode; its training mode is restored afterwards.
        x: images `[B, C, H, W]` or sequences `[T, B, C, H, W]`.
        classes: `[B]`, by default the predicted classes.

    Returns:
        `[T, B, h, w]`, not negative.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            stream = model.forward_features(x)
        with torch.enable_grad():
            stream = stream.detach().requires_grad_()
            logits = model.head(stream).mean(0)  # B K
            chosen = logits.argmax(-1) if classes is None else classes.to(logits.device)
            (gradient,) = torch.autograd.grad(logits.gather(-1, chosen[:, None]).sum(), stream)
    finally:
        for module in training:
            module.training = True
    weights = gradient.mean((-2, -1), keepdim=True)  # T B C 1 1
    return (weights * stream.detach()).sum(2).relu()
