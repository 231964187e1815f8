"""A block: cores in sequence, each with its own shortcut."""

from collections import OrderedDict

from torch import nn

from spikeformers.layers.contracts import MakeNeuron, MakeShortcut


def block(shortcut: MakeShortcut, neuron: MakeNeuron, *, drop_path: float = 0.0, **cores: nn.Module) -> nn.Sequential:
    """`block(SEWShortcut, LIF, attn=SSA(...), mlp=MLP(...))`: `[T, B, C, H, W] stream -> [T, B, C, H, W] stream`."""
    return nn.Sequential(
        OrderedDict((name, shortcut(core, neuron, drop_path=drop_path)) for name, core in cores.items())
    )
