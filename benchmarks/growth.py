"""How the cost of a training step grows with time steps, tokens, width and batch, as docs/figures/growth.png.

python benchmarks/growth.py
"""

from pathlib import Path

import matplotlib
import torch

from spikeformers.analysis.bench import bench, threads
from spikeformers.analysis.bench_models import clear_state, make_way, random_input

matplotlib.use("Agg")
from matplotlib import pyplot as plt

BASE = dict(dim=192, depth=2, num_heads=6, image_size=32, time_steps=4)
SWEEPS = {
    "time steps": [dict(time_steps=t) for t in (1, 2, 4, 8, 16)],
    "tokens": [dict(image_size=s) for s in (16, 32, 48, 64)],
    "width": [dict(dim=d, num_heads=d // 32) for d in (96, 192, 288, 384)],
    "batch": [dict(batch_size=b) for b in (1, 2, 4, 8, 16)],
}
WAYS = {"plain": "spikeformers", "lean": "spikeformers, lean", "spikingjelly": "SpikingJelly"}


def main() -> None:
    figure, axes = plt.subplots(2, len(SWEEPS), figsize=(14, 6), sharex="col")
    for column, (what, points) in zip(axes.T, SWEEPS.items(), strict=True):
        at, seconds, peaks = [], {way: [] for way in WAYS}, {way: [] for way in WAYS}
        for point in points:
            numbers = {**BASE, **point}
            batch_size = numbers.pop("batch_size", 4)
            models = {way: make_way(way, "spikformer_4_384_cifar10", **numbers) for way in WAYS}
            x = random_input(models["plain"], batch_size)
            value = {
                "time steps": numbers["time_steps"], "tokens": (numbers["image_size"] // 4) ** 2,
                "width": numbers["dim"], "batch": batch_size,
            }[what]  # fmt: skip
            at.append(value)
            for speed in bench(models, x, bf16=True, repeats=5, after=clear_state):
                seconds[speed.way].append(speed.training)
                peaks[speed.way].append(speed.peak)
            print(what, value, {way: (round(seconds[way][-1], 3), round(peaks[way][-1])) for way in WAYS}, flush=True)
        for way, label in WAYS.items():
            column[0].plot(at, seconds[way], marker="o", label=label)
            column[1].plot(at, peaks[way], marker="o", label=label)
        column[1].set_xlabel(what)
        for axis in column:
            axis.set_ylim(bottom=0)
            axis.set_xlim(left=0)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("seconds a training step")
    axes[1, 0].set_ylabel("MiB at the peak of a step")
    axes[0, 0].legend(frameon=False)
    figure.suptitle("Spikformer 2-192 on 32 x 32 images, T 4, batch 4 where not varied; bf16, one CPU thread")
    figure.tight_layout()
    figure.savefig(Path(__file__).parent.parent / "docs" / "figures" / "growth.png", dpi=110)


if __name__ == "__main__":
    with threads(1):
        torch.manual_seed(0)
        main()
