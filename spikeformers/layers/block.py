"""A block is its cores, one after the other, each behind a shortcut of its own."""

from collections import OrderedDict

from torch import nn

from spikeformers.layers.contracts import MakeNeuron, MakeShortcut


def block(shortcut: MakeShortcut, neuron: MakeNeuron, *, drop_path: float = 0.0, **cores: nn.Module) -> nn.Sequential:
    """`block(SEWShortcut, LIF, attn=SSA(...), mlp=MLP(...))`: `[T, B, C, H, W] stream -> [T, B, C, H, W] stream`."""
    return nn.Sequential(
        OrderedDict((name, shortcut(core, neuron, drop_path=drop_path)) for name, core in cores.items())
    )
