"""The audit over small instances of every family, as they are and with a slip, and over SpikingJelly's transformers.

python benchmarks/audit_families.py > table.md

Without a slip each model runs through all checks. The slip is that of the released code of QKFormer, MSViT, SGLFormer
for ImageNet and TP-Spikformer's QKFormer, a membrane that runs from one sample into the next: in these where it was; in
the others in the last neuron layer of the last block, since their own code has none. SpikingJelly's models are run with
and without a reset between inputs.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import nn

import spikeformers as sf
from spikeformers.analysis import ModelAudit, audit_model
from spikeformers.layers.attention import SSA
from spikeformers.neurons.batch_leaking_lif import BatchLeakingLIF

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from tiny_models import TINY, build

MSVIT = dict(num_heads=4, image_size=16, time_steps=2, num_classes=10)
MODELS = {
    **{name: partial(build, name) for name in TINY},
    "msvit_cifar100": partial(sf.create_model, "msvit_4_384_cifar100", dims=(32, 64), depths=(1, 1), **MSVIT),
    "msvit_imagenet": partial(
        sf.create_model, "msvit_10_384", dims=(16, 32, 64), depths=(1, 1, 1), **{**MSVIT, "image_size": 32}
    ),
    "qkformer_pruned": partial(
        build, "qkformer", image_size=32, pruning=dict(part="ReleasedTokenPruning", keep=0.8, kernel_size=7)
    ),
}
RELEASED = ("qkformer", "msvit", "sglformer")  # whose released code has the slip
LEAKS = ("batch leak", "state leak", "time leak", "determinism")
OTHERS = ("spike-driven", "gradients", "autocast")


def slipped(name: str, model: nn.Module) -> list[str]:
    """Puts the slip in, and returns where."""
    trunk = [(n, m) for n, m in model.named_modules() if n.startswith("blocks.") and hasattr(m, "levels")]
    places = [trunk[-1][0]]
    if name.startswith(RELEASED) and name != "sglformer_events":
        places = [f"{n}.neuron" for n, m in model.named_modules() if type(getattr(m, "core", None)) is SSA]
    if name == "sglformer":
        places = ["stem.stages.0.neuron", *places]
    for place in places:
        outer, _, own = place.rpartition(".")
        setattr(model.get_submodule(outer), own, BatchLeakingLIF())
    return places


def ours() -> Iterator[tuple[str, ModelAudit, ModelAudit, list[str]]]:
    for name, make in MODELS.items():
        torch.manual_seed(0)
        model = make()
        x = torch.randn(3, model.in_channels, model.image_size, model.image_size)
        sound = audit_model(model, x)
        places = slipped(name, model)
        yield name, sound, audit_model(model, x, skip=OTHERS), places


def spikingjellys() -> Iterator[tuple[str, ModelAudit, ModelAudit]]:
    from spikingjelly.activation_based.model.maxformer import MaxFormer
    from spikingjelly.activation_based.model.qkformer import QKFormer
    from spikingjelly.activation_based.model.spike_driven_transformer import SpikeDrivenTransformer
    from spikingjelly.activation_based.model.spikformer import Spikformer

    small = dict(T=4, num_classes=10, embed_dims=32)
    makes = {
        "Spikformer": lambda: Spikformer(img_size_h=32, img_size_w=32, num_heads=2, depths=1, **small),
        "SpikeDrivenTransformer": lambda: SpikeDrivenTransformer(num_heads=2, depths=1, **small),
        "QKFormer": lambda: QKFormer(num_heads=(1, 2, 2), depths=(1, 1, 1), **small),
        "MaxFormer": lambda: MaxFormer(depths=(1, 1, 1), **small),
    }
    for name, make in makes.items():
        torch.manual_seed(0)
        model, x = make(), torch.randn(3, 3, 32, 32)
        yield name, audit_model(model, x, reset=True), audit_model(model, x, skip=("batch leak", "time leak", *OTHERS))


def outcome(audit: ModelAudit, check: str) -> str:
    found = audit[check].found
    return audit[check].status if not found else f"{len(found)} found"


def share(audit: ModelAudit, check: str) -> str:
    numbers = [found.number for found in audit[check].found]
    low, high = 100 * min(numbers), 100 * max(numbers)
    return f"{high:.2g} %" if len(numbers) == 1 else f"{low:.2g} to {high:.2g} %"


def driven(audit: ModelAudit) -> str:
    return audit["spike-driven"].note.partition(": ")[2].partition(" products")[0]


def main() -> None:
    print("| model | neuron layers | leaks, determinism | gradients | autocast | products that add | with the slip |")
    print("|---|--:|---|---|---|--:|---|")
    for name, sound, slip, places in ours():
        leaks = {f"{check}, " * bool(sound[check].found) + outcome(sound, check) for check in LEAKS}
        where = [found.module for found in slip["batch leak"].found]
        others = [check for check in LEAKS[1:] if len(slip[check].found) > len(sound[check].found)]
        assert where == places and not others, (name, where, places, others)
        cells = (f"`{name}`", sound.about["neuron layers"], ", ".join(sorted(leaks)), outcome(sound, "gradients"))
        found = f"batch leak at `{', '.join(where)}`, {share(slip, 'batch leak')}"
        print(f"| {' | '.join((*cells, outcome(sound, 'autocast'), driven(sound), found))} |", flush=True)
    print(
        "\n| SpikingJelly's | neuron layers | leaks, with reset | gradients | autocast | products that add | without |"
    )
    print("|---|--:|---|---|---|--:|---|")
    for name, sound, kept in spikingjellys():
        leaks = {outcome(sound, check) for check in LEAKS}
        cells = (f"`{name}`", sound.about["neuron layers"], ", ".join(sorted(leaks)), outcome(sound, "gradients"))
        flips = f"{outcome(sound, 'autocast')}, {share(sound, 'autocast')}"
        found = f"state leak, {outcome(kept, 'state leak')}, {share(kept, 'state leak')}"
        print(f"| {' | '.join((*cells, flips, driven(sound), found))} |", flush=True)


if __name__ == "__main__":
    main()
