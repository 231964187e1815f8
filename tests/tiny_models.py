"""A small model of every family, for what all of them must pass."""

import spikeformers as sf
from spikeformers.models.registry import _FAMILIES

# A tiny member or two of every family: the size it is cut from, and how.
TINY = {
    "spikformer": ("spikformer_4_384_cifar10", dict(dim=32, depth=2, num_heads=2, image_size=16, time_steps=2)),
    "spikformer_events": ("spikformer_2_256_cifar10dvs", dict(dim=32, num_heads=2, image_size=32, time_steps=2)),
    "spikformer_v2": (
        "spikformer_v2_8_384",
        dict(dim=32, depth=2, num_heads=2, strides=(1, 1, 2, 2), image_size=16, time_steps=2, num_classes=10),
    ),
    "spikingformer": ("spikingformer_4_384_cifar10", dict(dim=32, depth=2, num_heads=2, image_size=16, time_steps=2)),
    "spikingformer_events": ("spikingformer_cml_2_256_gesture", dict(dim=32, num_heads=2, image_size=32, time_steps=2)),
    "spikingresformer": (
        "spikingresformer_ti_cifar10",
        dict(dims=(32, 32, 64), num_heads=(1, 1, 2), depths=(1, 1, 1), image_size=16, time_steps=2),
    ),
    "spikingresformer_events": (
        "spikingresformer_gesture",
        dict(dims=(32, 32, 64), num_heads=(1, 1, 2), depths=(1, 1, 1), image_size=16, time_steps=2),
    ),
    "sdt": ("sdt_2_256_cifar10", dict(dim=64, depth=2, num_heads=2, image_size=16, time_steps=2)),
    "sdt_events": ("sdt_2_256_cifar10dvs", dict(dim=64, depth=2, num_heads=8, image_size=16, time_steps=2)),
    "sdt_v2": (
        "sdt_v2_15m",
        dict(dims=(8, 16, 32, 48), depths=(1, 1), num_heads=2, image_size=64, time_steps=2, num_classes=10),
    ),
    "sdt_v2_kd": (
        "sdt_v2_55m_kd",
        dict(dims=(8, 16, 32, 48), depths=(1, 1), num_heads=2, image_size=64, time_steps=2, num_classes=10),
    ),
    "sdt_v3": (
        "sdt_v3_3m",
        dict(dims=(8, 8, 16, 32), depths=(1, 1), num_heads=2, image_size=32, time_steps=2, num_classes=10),
    ),
    "sdt_v3_large": (
        "sdt_v3_83m",
        dict(dims=(8, 16, 32), depth=2, num_heads=2, layer_scale=0.5, image_size=64, time_steps=2, num_classes=10),
    ),
    "sdt_v3_large_kd": (
        "sdt_v3_83m_d8_kd",
        dict(dims=(8, 16, 32), depth=2, num_heads=2, layer_scale=0.5, image_size=64, time_steps=2, num_classes=10),
    ),
    "qsd": (
        "qsd_15m",
        dict(
            dims=(8, 16, 32, 48),
            depths=(1, 1),
            num_heads=2,
            layer_scale=0.5,
            image_size=64,
            time_steps=2,
            num_classes=10,
        ),
    ),
    "qkformer": (
        "qkformer_4_384_cifar10",
        dict(dims=(16, 32), depths=(1, 1), num_heads=4, image_size=16, time_steps=2),
    ),
    "qkformer_events": ("qkformer_2_256_cifar10dvs", dict(dims=(16, 32), num_heads=4, image_size=32, time_steps=2)),
    "msqkformer": (
        "msqkformer_10_384",
        dict(dims=(16, 32, 64), depths=(1, 1, 1), num_heads=4, image_size=32, time_steps=2, num_classes=10),
    ),
    "maxformer": (
        "maxformer_4_384_cifar10",
        dict(dims=(16, 32, 64), depths=(1, 1, 1), num_heads=4, image_size=16, time_steps=2),
    ),
    "maxformer_events": ("maxformer_2_256_cifar10dvs", dict(dims=(32, 64), image_size=32, time_steps=2)),
    "msvit": (
        "msvit_4_384_cifar10",
        dict(dims=(32, 64), depths=(1, 1), num_heads=4, image_size=16, time_steps=2),
    ),
    "sglformer": (
        "sglformer_8_384",
        dict(
            dim=32,
            depth=2,
            num_heads=2,
            strides=(1, 2, 2, 1, 1),
            image_size=16,
            time_steps=2,
            num_classes=10,
        ),
    ),
    "sglformer_events": (  # with as many steps as a test gives: its head has weights for no more
        "sglformer_3_256_gesture",
        dict(dim=32, depth=2, num_heads=2, image_size=32, time_steps=5),
    ),
    "swformer": ("swformer_4_384_cifar10", dict(dim=32, depth=2, num_heads=2, image_size=16, time_steps=2)),
    "swformer_events": ("swformer_2_256_cifar10dvs", dict(dim=32, num_heads=2, image_size=32, time_steps=2)),
    "sew_resnet": (
        "sew_resnet18_cifar10",
        dict(dims=(32, 48), depths=(2, 1), stem_dim=32, image_size=16, time_steps=2),
    ),
    "sew_resnet_bottleneck": (
        "sew_resnet50",
        dict(dims=(32, 64), depths=(2, 1), stem_dim=32, image_size=16, time_steps=2, num_classes=10),
    ),
}
FAMILIES = [name for name in TINY if name in _FAMILIES]  # one per family, for what takes seconds


def build(name, **overrides):
    base, numbers = TINY[name]
    return sf.create_model(base, **{**numbers, **overrides})
