"""Weight initialisation of released code, where it differs from torch's."""

from torch import nn


def trunc_normal_convs(module: nn.Module, std: float) -> None:
    """Draws the weights of all convolutions from a normal distribution truncated to [-2, 2]; biases are 0."""
    for conv in (m for m in module.modules() if isinstance(m, nn.Conv2d)):
        nn.init.trunc_normal_(conv.weight, std=std)
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


def kaiming_normal_convs(module: nn.Module) -> None:
    """Draws the weights of all convolutions as in ResNets, by fan-out."""
    for conv in (m for m in module.modules() if isinstance(m, nn.Conv2d)):
        if conv.weight.is_meta:  # no storage to fill, and torch would load its compiler
            continue
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
