"""A block: cores in sequence, each with its own shortcut."""

from collections import OrderedDict

from torch import nn

from spikeformers.layers.contracts import MakeNeuron, MakeShortcut, declared


def block(shortcut: MakeShortcut, neuron: MakeNeuron, *, drop_path: float = 0.0, **cores: nn.Module) -> nn.Sequential:
    """`block(SEWShortcut, LIF, attn=SSA(...), mlp=MLP(...))`: `[T, B, C, H, W] stream -> [T, B, C, H, W] stream`.

    A part that is not simply a core inside a shortcut defines `in_block`, which returns it as it stands in a block.
    """

    def behind(core: nn.Module) -> nn.Module:
        return shortcut(core, neuron, drop_path=drop_path)

    def placed(core: nn.Module) -> nn.Module:
        in_block = declared(core, "in_block")
        return behind(core) if in_block is None else in_block(behind)

    return nn.Sequential(OrderedDict((name, placed(core)) for name, core in cores.items()))
