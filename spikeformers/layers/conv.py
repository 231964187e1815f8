"""Convolution and batch norm, the pair that carries nearly all weights of a spiking transformer."""

from torch import Tensor, nn

from spikeformers.layers.time import merge_time, split_time


class ConvNorm(nn.Module):
    """A convolution, then batch norm, at every step: `[T, B, C_in, H, W] spikes -> [T, B, C, H', W'] current`.

    Odd kernels are padded to keep the size, `stride` divides it. With kernel 1, the default, it is the papers' linear
    layer on tokens. Batch statistics are shared by all steps, so nothing that depends on t has parameters.
    """

    def __init__(self, in_dim: int, dim: int, kernel_size: int = 1, stride: int = 1, *, bias: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(in_dim, dim, kernel_size, stride, padding=kernel_size // 2, bias=bias)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        return split_time(self.norm(self.conv(merge_time(x))), x.shape[0])

    def extra_repr(self) -> str:
        size, stride = self.conv.kernel_size[0], self.conv.stride[0]
        return f"{self.conv.in_channels} -> {self.conv.out_channels}, {size} x {size}" + f", stride {stride}" * (
            stride > 1
        )
