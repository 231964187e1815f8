"""Weights of few bits with learned step sizes."""

import torch
from torch import Tensor, nn

from spikeformers.ops.arguments import check_whole
from spikeformers.ops.rounding import round_half_even


class LSQ(nn.Module):
    """Rounds weights to multiples of a step that is learned per output channel: `[C, ...] -> [C, ...]`.

        low, high = -2^(bits - 1), 2^(bits - 1) - 1
        w' = step[c] round(clamp(w / step[c], low, high))      ties to even

    The gradient passes to `w` where `low <= w / step <= high`. The gradient of a step is divided by sqrt(n high), where
    n is the number of weights in the layer. Steps begin at `2 mean|w| / sqrt(high)`, one number for all channels. At
    inference the weights are constants, so nothing is added to a product: a weight takes `bits` bits, and the step
    folds into the norm after it. Biases and norms stay as they are. Esser et al., ICLR 2020, arXiv:1902.08153; 4 bits
    in QSD-Transformer, Qiu et al., ICLR 2025, arXiv:2501.13492. Released code: equal, to 1e-6 in QSD-Transformer's
    logits. The released code sets the steps in the first training step and leaves them undefined before; here they are
    set from the weights at construction.

    Raises ValueError for fewer than 2 bits.
    """

    def __init__(self, weight: Tensor, *, bits: int = 4):
        super().__init__()
        check_whole(2, "a signed weight needs one more than its sign; give 2 or more", bits=bits)
        self.bits = bits
        self.low, self.high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        with torch.no_grad():
            self.step = nn.Parameter((2 * weight.abs().mean() / self.high**0.5).expand(len(weight)).clone())

    def forward(self, weight: Tensor) -> Tensor:
        share = (weight.numel() * self.high) ** -0.5
        fixed = self.step.detach()
        step = fixed + share * (self.step - fixed)  # adds exactly 0, and the derivative
        step = step.view(-1, *(1,) * (weight.ndim - 1))
        return step * round_half_even(weight / step, self.high, self.low)

    def extra_repr(self) -> str:
        return f"bits={self.bits}"
