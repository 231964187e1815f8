"""How released code draws its first weights, where it is not torch's own way."""

from torch import nn


def trunc_normal_convs(module: nn.Module, std: float) -> None:
    """Draws every convolution's weights from a normal distribution cut at 2, and sets their biases to 0."""
    for conv in (m for m in module.modules() if isinstance(m, nn.Conv2d)):
        nn.init.trunc_normal_(conv.weight, std=std)
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


def kaiming_normal_convs(module: nn.Module) -> None:
    """Draws every convolution's weights as residual networks do, by their fan-out; it has no biases to set."""
    for conv in (m for m in module.modules() if isinstance(m, nn.Conv2d)):
        if conv.weight.is_meta:  # nothing to draw, and torch would load its compiler to do so
            continue
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
