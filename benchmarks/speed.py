"""How fast, and how lean, beside SpikingJelly.

python benchmarks/speed.py            on a CPU, about four minutes
python benchmarks/speed.py --large    the ImageNet sizes
python benchmarks/speed.py --compiled with torch.compile, which takes minutes more to begin
"""

import argparse
import platform

import torch

from spikeformers.analysis.bench import threads
from spikeformers.analysis.bench_models import bench_ways

SMALL = [("spikformer_4_384_cifar10", 16)]
LARGE = [("spikformer_8_384", 2), ("qkformer_10_384", 2), ("sdt_8_384", 2)]


def table(name: str, batch_size: int, ways: list[str], *, bf16: bool, repeats: int) -> None:
    speeds, products = bench_ways(name, ways, batch_size=batch_size, bf16=bf16, repeats=repeats)
    theirs = next(speed for speed in speeds if speed.way == "spikingjelly")
    print(f"\n`{name}`, batch {batch_size}, {'bf16 autocast' if bf16 else 'fp32'}\n")
    print("| way | training, s | x | evaluation, s | x | peak, MiB per image | share | first steps, s |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for s in speeds:
        times = (f"{s.training:.3f}", f"{theirs.training / s.training:.2f}", f"{s.evaluation:.3f}")
        cells = (*times, f"{theirs.evaluation / s.evaluation:.2f}", f"{s.peak / batch_size:.1f}")
        print(f"| {s.way} | {' | '.join(cells)} | {s.peak / theirs.peak:.2f} | {s.first:.1f} |")
    print(f"| products alone | {products[0]:.3f} | | {products[1]:.3f} | | | | |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-size", type=int, help="for all")
    asked = parser.parse_args()
    ways = ["plain", "lean", "spikingjelly", *(["compiled", "spikingjelly-compiled"] if asked.compiled else [])]
    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"{asked.threads} thread of {platform.machine()}"
    )
    print(f"{device}, torch {torch.__version__}, Python {platform.python_version()}")
    with threads(asked.threads):
        for name, batch_size in LARGE if asked.large else SMALL:
            for bf16 in (True, False):
                table(name, asked.batch_size or batch_size, ways, bf16=bf16, repeats=asked.repeats)


if __name__ == "__main__":
    main()
