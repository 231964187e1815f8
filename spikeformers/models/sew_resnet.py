"""SEW-ResNet: a residual network of convolutions with spikes added over the shortcuts, the transformers' baseline.

Fang et al., "Deep Residual Learning in Spiking Neural Networks", NeurIPS 2021, arXiv:2102.04159.
"""

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any

from spikeformers.layers.block import block
from spikeformers.layers.contracts import MakeHead, MakeNeuron, MakeShortcut, MakeStem
from spikeformers.layers.conv_chain import ConvChain
from spikeformers.layers.head import Head
from spikeformers.layers.sew_downsample import SEWDownsample
from spikeformers.layers.shortcut import SEWShortcut
from spikeformers.layers.stem import ResNetStem
from spikeformers.models.init import kaiming_normal_convs
from spikeformers.models.network import SpikingTransformer
from spikeformers.models.registry import Published, register
from spikeformers.models.stages import Stage
from spikeformers.models.trunk import spread
from spikeformers.neurons import IF
from spikeformers.ops.surrogate import ATan

_BASIC = dict(dims=(64, 128, 256, 512))
_BOTTLENECK = dict(dims=(256, 512, 1024, 2048), kernel_sizes=(1, 3, 1), reduction=4)
_CIFAR = dict(image_size=32, strides=(1, 1), stem=partial(ResNetStem, kernel_size=3))  # ours, not the paper's

SIZES = {
    "sew_resnet18": dict(depths=(2, 2, 2, 2), **_BASIC),
    "sew_resnet34": dict(depths=(3, 4, 6, 3), **_BASIC),
    "sew_resnet50": dict(depths=(3, 4, 6, 3), **_BOTTLENECK),
    "sew_resnet101": dict(depths=(3, 4, 23, 3), **_BOTTLENECK),
    "sew_resnet152": dict(depths=(3, 8, 36, 3), **_BOTTLENECK),
    "sew_resnet18_cifar10": dict(depths=(2, 2, 2, 2), num_classes=10, **_BASIC, **_CIFAR),
    "sew_resnet18_cifar100": dict(depths=(2, 2, 2, 2), num_classes=100, **_BASIC, **_CIFAR),
}

_published = partial(Published, paper="arXiv:2102.04159")

PUBLISHED = {
    "sew_resnet18": _published(11_689_512, "ImageNet-1k", 63.18),
    "sew_resnet34": _published(21_797_672, "ImageNet-1k", 67.04),
    "sew_resnet50": _published(25_557_032, "ImageNet-1k", 67.78),
    "sew_resnet101": _published(44_549_160, "ImageNet-1k", 68.76),
    "sew_resnet152": _published(60_192_808, "ImageNet-1k", 69.26),
    "sew_resnet18_cifar10": _published(11_173_962, "CIFAR-10", None),
    "sew_resnet18_cifar100": _published(11_220_132, "CIFAR-100", None),
}


def sew_resnet(
    *,
    dims: tuple[int, ...],
    depths: tuple[int, ...],
    kernel_sizes: tuple[int, ...] = (3, 3),
    reduction: int = 1,
    stem_dim: int = 64,
    strides: tuple[int, ...] = (2, 2),
    drop_path: float = 0.0,
    in_channels: int = 3,
    num_classes: int = 1000,
    image_size: int = 224,
    time_steps: int = 4,
    neuron: MakeNeuron = partial(IF, surrogate=ATan()),
    stem: MakeStem = ResNetStem,
    shortcut: MakeShortcut = SEWShortcut,
    head: MakeHead = Head,
) -> SpikingTransformer:
    """A SEW-ResNet `[B, C, H, W]` or `[T, B, C, H, W] -> [B, K]` of stages with `depths` blocks, `dims` wide.

    A block convolves with `kernel_sizes`, inside `dims / reduction` wide. Each stage after the first halves the map.
    `drop_path` grows linearly from 0 to its value over the blocks.

    Raises ValueError where `dims` and `depths` are not equally many, or a stage has no block.
    """
    if len(dims) != len(depths):
        raise ValueError(f"dims {dims} and depths {depths} differ in length: give one of each per stage")
    if 0 in depths:
        raise ValueError(f"depths {depths} leave a stage without the block that shrinks the map: give 1 or more")
    rates, blocks, stages, in_dim = iter(spread(drop_path, sum(depths))), [], [], stem_dim
    for stage, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
        for i in range(depth):
            stride = 2 if stage > 0 and i == 0 else 1
            core, rate = ConvChain(in_dim, dim // reduction, dim, neuron, kernel_sizes, stride), next(rates)
            if stride > 1 or in_dim != dim:
                blocks.append(SEWDownsample(core, in_dim, dim, neuron, stride, drop_path=rate))
            else:
                blocks.append(block(shortcut, neuron, drop_path=rate, conv=core))
            in_dim = dim
        stages.append(Stage(len(blocks) - 1, dim, prod(strides) * 2**stage))
    model = SpikingTransformer(
        stem=stem(in_channels, stem_dim, neuron, strides),
        blocks=blocks,
        stages=stages,
        head=head(dims[-1], num_classes, neuron),
        time_steps=time_steps,
        image_size=image_size,
    )
    kaiming_normal_convs(model)
    return model


def renames(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How SpikingJelly's models, and torchvision's ResNets, spell our keys: `layer` counts stages from 1."""
    pairs, ours, in_dim = [], 0, config["stem_dim"]
    for stage, (dim, depth) in enumerate(zip(config["dims"], config["depths"], strict=True)):
        for i in range(depth):
            same_shape = in_dim == dim and (stage == 0 or i > 0)
            pairs += [(rf"^layer{stage + 1}\.{i}\.", rf"blocks.{ours}.conv." if same_shape else rf"blocks.{ours}.")]
            ours, in_dim = ours + 1, dim
    last = len(config["kernel_sizes"])
    return [*STEM_RENAMES, *pairs, (rf"^(blocks\..*)\bsn{last}\.", r"\1neuron."), *RENAMES]


STEM_RENAMES = [  # before a block's own `conv1` can be mistaken for the stem's
    (r"^conv1\.", r"stem.proj.conv."),
    (r"^bn1\.", r"stem.proj.norm."),
    (r"^sn1\.", r"stem.neuron."),
]
RENAMES = [
    (r"^(blocks\..*)\bconv(\d)\.", r"\1core.conv\2.conv."),
    (r"^(blocks\..*)\bbn(\d)\.", r"\1core.conv\2.norm."),
    (r"^(blocks\..*)\bsn(\d)\.", r"\1core.neuron\2."),
    (r"\.downsample\.0\.", r".skip.conv."),
    (r"\.downsample\.1\.", r".skip.norm."),
    (r"\.downsample_sn\.", r".skip_neuron."),
    (r"^fc\.", r"head.linear."),
]

register(sew_resnet, SIZES, published=PUBLISHED, renames=renames)
