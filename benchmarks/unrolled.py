"""An integer network as counts and as spikes: the figures of docs/studies/cifar10-evening.md, on one CPU thread.

python benchmarks/unrolled.py cifar10_evening --data FOLDER

The network, and its unrolled copy, on all test images; logits of both in float64; the network with its counts cut off
lower; energy by every convention, the mean over 64 test images spread over the classes; and the audit of both.
"""

import argparse
import copy

import torch
from engine import machine, medians
from int8 import tested
from torch import Tensor, nn

import spikeformers as sf
from spikeformers.analysis import CONVENTIONS, Profile, audit, profile, verdict

BATCH = 50
EXACT = 500  # images compared in float64


def answers(model: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([model(part) for part in x.split(BATCH)])


def right(logits: Tensor, y: Tensor) -> str:
    return f"{100 * float((logits.argmax(-1) == y).double().mean()):.2f}"


def microjoules(found: Profile, convention: str) -> str:
    return f"{1e3 * found.total(convention).millijoules:.2f}"


def cut_off(model: nn.Module, count: int) -> nn.Module:
    """A copy whose neurons emit `count` at most."""
    model = copy.deepcopy(model)
    for neuron in (part for part in model.modules() if hasattr(part, "max_count")):
        neuron.max_count, neuron.levels = count, neuron.levels[: count + 1]
    return model


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--data")
    parser.add_argument("--every", type=int, default=1, help="take every n-th test image only")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    model, x, y, _ = tested(asked.checkpoint, asked.data)
    some = x[:: max(1, len(x) // 64)][:64]
    x, y = x[:: asked.every], y[:: asked.every]
    binary = sf.deploy.unroll(model)

    print("\n| convention | integer, µJ | unrolled, µJ |\n|---|--:|--:|")
    found = {"integer": profile(model, [some]), "unrolled": profile(binary, [some])}
    for convention in CONVENTIONS:
        print(f"| `{convention}` | " + " | ".join(microjoules(f, convention) for f in found.values()) + " |")
    for way, f in found.items():
        print(f"\n{way}: {verdict(audit(f))}")

    one = x[:BATCH]
    seconds = medians({"integer": lambda: model(one), "unrolled": lambda: binary(one)})
    print("\n" + ", ".join(f"{way} {len(one) / time:.0f} images a second" for way, time in seconds.items()), flush=True)

    exact = x[:EXACT].double()
    wide = copy.deepcopy(model).double()  # before norms are folded, which rounds
    doubled = [answers(network, exact) for network in (wide, sf.deploy.unroll(wide))]
    print(
        f"float64: {int((doubled[0] == doubled[1]).all(-1).sum())} of {len(exact)} images have equal logits", flush=True
    )

    logits, spikes = answers(model, x), answers(binary, x)
    apart = int(((logits - spikes).abs() > 1e-3).any(-1).sum())
    print(f"unrolled: {right(spikes, y)} % of {len(y)} images; {apart} have logits more than 0.001 apart", flush=True)
    largest = max(part.max_count for part in model.modules() if hasattr(part, "max_count"))
    print("\n| counts up to | right, % | `integer`, µJ |\n|--:|--:|--:|")
    for count in range(largest, 0, -1):
        cut = cut_off(model, count)
        percent = right(logits if count == largest else answers(cut, x), y)
        print(f"| {count} | {percent} | {microjoules(profile(cut, [some]), 'integer')} |", flush=True)


if __name__ == "__main__":
    main()
