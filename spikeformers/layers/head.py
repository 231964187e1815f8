"""From the stream to logits."""

from torch import Tensor, nn


class Head(nn.Module):
    """Mean over space, then a linear layer, at every step: `[T, B, C, H, W] stream -> [T, B, K] logits`."""

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes {num_classes} is below 1: a head needs a class to name")
        self.num_classes = num_classes
        self.linear = nn.Linear(dim, num_classes)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((-2, -1)))
