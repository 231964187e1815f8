"""The engine beside dense ways of inference: the picture and the tables of docs/performance.md, on one CPU thread.

python benchmarks/engine.py train DATA OUT       two small models on CIFAR-10, 16 minutes of a core each
python benchmarks/engine.py accuracy DATA OUT    engine against folded model on all test images, two minutes
python benchmarks/engine.py trained DATA OUT     speed on those models and images, three minutes
python benchmarks/engine.py published            speed at published sizes, spikes as dense as the literature reports
python benchmarks/engine.py training             speed of a training step, kernels on and off, five minutes
python benchmarks/engine.py picture OUT FILE     time against density for one layer, OUT's models marked

DATA is a folder of images, train/<class>/* and test/<class>/*. Times are CPU times of the process, whose libraries are
told to use one thread; ways are taken in turns, and figures are medians of 7.
"""

import argparse
import contextlib
import datetime
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

import spikeformers as sf
from spikeformers.analysis.bench import _Like, _Products, _step
from spikeformers.analysis.bench_models import clear_state, spikingjelly_counterpart
from spikeformers.analysis.inference_ways import INFERENCE_WAYS, inference_way
from spikeformers.deploy import fold, spike_engine
from spikeformers.evaluation.subject import set_norms
from spikeformers.layers.conv import ConvNorm
from spikeformers.models import SpikingTransformer
from spikeformers.neurons import LIF
from spikeformers.ops.spike_product import Neuron, without_kernels
from spikeformers.ops.spike_product.product import SpikeProduct

REPEATS = 7
SIZE = dict(dim=128, depth=2, num_heads=4, strides=[2, 2], mlp_ratio=2, time_steps=4, image_size=32, num_classes=10)
FAMILIES = {"spikformer": "SEW", "spikingformer": "membrane"}  # and their shortcuts
# Model, arguments, batch size, share of ones: Spikformer's and SDT's on CIFAR-10 are from Prosperity's tables, SDT's on
# ImageNet is from its published energy; of the others none was found, and they get Spikformer's.
PUBLISHED: list[tuple[str, dict[str, Any], int, float]] = [
    ("spikformer_4_384_cifar10", {}, 16, 0.149),
    ("sdt_8_384", {}, 2, 0.07),
    ("qkformer_10_384", {}, 2, 0.149),
    ("sdt_v3_5m", {}, 2, 0.149),
]


def medians(ways: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Seconds of CPU time of each, taken in turns; a way that gives a number has timed itself."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(REPEATS + 1):
        for way, call in ways.items():
            begun = time.process_time()
            own = call()
            spent = time.process_time() - begun
            if turn:
                seconds[way].append(own if isinstance(own, float) else spent)  # some leave out what they prepare
    return {way: statistics.median(times) for way, times in seconds.items()}


def bare(products: _Products) -> float:
    """Seconds of CPU time of products alone, on inputs of the same shapes and layouts."""
    seconds = 0.0
    for (operator, args, named), count in products.calls.items():
        made, named = tree_map_only(_Like, lambda like: like.made(), [list(args), dict(named)])
        begun = time.process_time()
        for _ in range(count):
            operator(*made, **named)
        seconds += time.process_time() - begun
    return seconds


def compared(model: SpikingTransformer, x: Tensor, batch: int) -> dict[str, float]:
    """Seconds of a batch in all ways that can be had; engines are planned by `x`."""
    model, images = model.eval(), x[:batch]
    modules: dict[str, nn.Module] = {"plain": model, "folded": fold(model)}
    for way in INFERENCE_WAYS:
        try:
            modules[way] = inference_way(way, model, x if way.startswith("engine") else images)
        except ImportError as error:
            print(error, file=sys.stderr)
        except Exception as error:  # another library's: the others are still compared
            print(f"{way} does not take this model: {error}".splitlines()[0][:160], file=sys.stderr)
    theirs = spikingjelly_counterpart(model)
    if theirs is not None:
        modules["spikingjelly"] = theirs.eval()

    def call(module: nn.Module) -> Callable[[], Any]:
        def run() -> None:
            module(images)
            clear_state(module) if module is theirs else None

        return run

    with torch.no_grad(), _Products() as products:
        modules["folded"](images)
    with torch.inference_mode():
        return medians({"bare products": lambda: bare(products), **{way: call(m) for way, m in modules.items()}})


def density(model: nn.Module, x: Tensor) -> float:
    """Share of operands that are not 0, over the multiply-adds of all convolutions but the image's."""
    seen: list[tuple[float, float]] = []

    def note(conv: Any, given: tuple[Tensor, ...], made: Tensor) -> None:
        if conv.in_channels > 4:
            seen.append((made.numel() * conv.weight[0].numel(), float(given[0].count_nonzero()) / given[0].numel()))

    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, nn.Conv2d)]
    with torch.inference_mode():
        model(x)
    for hook in hooks:
        hook.remove()
    return sum(work * share for work, share in seen) / sum(work for work, _ in seen)


def with_density(model: SpikingTransformer, x: Tensor, wanted: float) -> float:
    """Moves the biases of all norms, by one number, until as many operands are not 0; gives the density met."""
    set_norms(model, x)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    low, high, met = -2.0, 3.0, 0.0
    for _ in range(12):
        middle = (low + high) / 2
        for norm in norms:
            nn.init.constant_(norm.bias, middle)
        met = density(fold(model), x)
        low, high = (middle, high) if met < wanted else (low, middle)
    return met


def row(name: str, ones: float, seconds: dict[str, float]) -> None:
    columns = ("bare products", "plain", "folded", "spikingjelly", *INFERENCE_WAYS)
    times = (f"{1000 * seconds[way]:.1f}" if way in seconds else "" for way in columns)
    print(f"| {name} | {100 * ones:.1f} % | {' | '.join(times)} |", flush=True)
    for way in ("engine", "engine-int8"):
        ratios = (f"{other} {seconds[other] / seconds[way]:.2f}" for other in columns if other in seconds)
        print(f"<!-- {name}: times {way}: {', '.join(ratios)} -->", flush=True)


def header() -> None:
    print("\n| model, batch | ones | bare products, ms | plain | folded | SpikingJelly | engine | int8 | ONNX Runtime "
          "| int8 | OpenVINO | int8 |\n|---|" + "--:|" * 11)  # fmt: skip


def images_of(folder: Path) -> tuple[Tensor, Tensor]:
    """All images of a folder, normalised as CIFAR-10 is, and their classes."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.v2.functional import pil_to_tensor

    found = [(pil_to_tensor(image), label) for image, label in ImageFolder(str(folder))]
    x = torch.stack([image for image, _ in found]).float() / 255
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
    return (x - mean.view(3, 1, 1)) / std.view(3, 1, 1), torch.tensor([label for _, label in found])


def train(data: Path, out: Path, updates: int = 1326, batch: int = 32) -> None:
    x, y = images_of(data / "train")
    for family in FAMILIES:
        torch.manual_seed(0)
        model = sf.create_model(family, **SIZE)
        optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05)
        for update in range(updates):
            done = update / updates
            optimizer.param_groups[0]["lr"] = 3e-3 * min(10 * done, (1 - done) ** 0.7) + 1e-5
            some = torch.randint(len(x), (batch,))
            images = x[some].flip(-1) if torch.rand(()) < 0.5 else x[some]
            loss = nn.functional.cross_entropy(model(images), y[some], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        sf.save_pretrained(model, out / family)
        print(f"{family}: loss {loss.item():.2f} after {updates} updates", flush=True)


def accuracy(data: Path, out: Path) -> None:
    x, y = images_of(data / "test")
    planned = images_of(data / "train")[0][::781]
    print("\n| model | folded | engine | same class | int8 | same class |\n|---|--:|--:|--:|--:|--:|")
    for family, shortcut in FAMILIES.items():
        model = sf.from_pretrained(out / family).eval()
        ways = [fold(model), *(spike_engine(model, planned, weights=w) for w in (torch.float32, torch.int8))]
        with torch.inference_mode():
            dense, *engines = ([way(part) for part in x.split(100)] for way in ways)
        said = torch.cat(dense).argmax(1)
        cells = [f"{100 * (said == y).float().mean():.2f} %"]
        for answers in engines:
            classes = torch.cat(answers).argmax(1)
            right, same = (classes == y).float().mean(), (classes == said).float().mean()
            cells += [f"{100 * right:.2f} %", f"{100 * same:.2f} %"]
        print(f"| {family}, {shortcut} shortcuts | {' | '.join(cells)} |", flush=True)


def trained(data: Path, out: Path) -> None:
    x = images_of(data / "test")[0][::20]
    header()
    for family in FAMILIES:
        model = sf.from_pretrained(out / family).eval()
        ones = density(fold(model), x)
        (out / family / "density.txt").write_text(f"{ones}")  # for the picture
        for batch in (16, 1):
            seconds = compared(model, x[:64], batch)
            row(f"{family}, {batch}", ones, seconds)


def published(only: str | None, ones: float | None) -> None:
    """`only`: one of the models, or spikformer, the narrow one that `train` makes; `ones`: another density."""
    header()
    for name, arguments, batch, wanted in [*PUBLISHED, ("spikformer", SIZE, 16, 0.154)]:
        if name != only if only else name == "spikformer":
            continue
        wanted = ones or wanted
        torch.manual_seed(0)
        model = sf.create_model(name, **arguments)
        x = torch.randn(4, model.in_channels, model.image_size, model.image_size)
        met = with_density(model, x, wanted)
        x = torch.randn(max(batch, 2), *x.shape[1:])
        for size in (batch, 1):
            seconds = compared(model, x, size)
            row(f"{name}, {size}", met, seconds)


def training(name: str, batch: int) -> None:
    """A training step, weights as drawn, with spikes as they come and as dense as the literature reports."""
    print(f"\n{name}, batch {batch}: a training step, then evaluation, ms of CPU time")
    print("\n| ones | step | bare products | plain | kernels off | SpikingJelly |\n|--:|---|--:|--:|--:|--:|")
    wanted = next(share for model, _, _, share in PUBLISHED if model == name)
    for ones in (None, wanted):
        torch.manual_seed(0)
        model = sf.create_model(name)
        x = torch.randn(batch, model.in_channels, model.image_size, model.image_size)
        set_norms(model, x[:4])
        met = with_density(model, x[:4], ones) if ones else density(fold(model), x[:4])
        model.to(memory_format=torch.channels_last)
        theirs = spikingjelly_counterpart(model)
        for mode in (True, False):

            def step(module: Any, sparse: bool = False, mode: bool = mode, x: Tensor = x) -> Callable[[], float]:
                def run() -> float:
                    module.train(mode)
                    with contextlib.nullcontext() if sparse else without_kernels():
                        begun = time.process_time()
                        _step(module, x, mode, False)
                        spent = time.process_time() - begun
                    clear_state(module)
                    return spent

                return run

            with _Products() as products:
                step(model)()
            ways: dict[str, Callable[[], Any]] = {
                "bare products": lambda products=products: bare(products),
                "plain": step(model, True),
                "kernels off": step(model),
            }
            found = medians(ways if theirs is None else {**ways, "SpikingJelly": step(theirs)})
            times = " | ".join(f"{1000 * seconds:.0f}" for seconds in found.values())
            print(f"| {100 * met:.1f} % | {'training' if mode else 'evaluation'} | {times} |", flush=True)
            ratios = (f"{way} {seconds / found['plain']:.2f}" for way, seconds in found.items())
            print(f"<!-- times plain: {', '.join(ratios)} -->", flush=True)


class Layer(nn.Module):
    """A 3 x 3 convolution and its neurons."""

    def __init__(self, dim: int):
        super().__init__()
        self.conv, self.neuron = ConvNorm(dim, dim, 3), LIF()

    def forward(self, x: Tensor) -> Tensor:
        return self.neuron(self.conv(x))


def picture(out: Path, file: Path) -> None:
    from matplotlib import pyplot

    steps, batch, dim, size = 4, 4, 128, 16
    layer = Layer(dim).eval()
    conv = next(m for m in fold(layer).modules() if isinstance(m, nn.Conv2d))
    products = {
        f"sparse, {label} weights": SpikeProduct(conv.weight, conv.bias, padding=(1, 1), dtype=dtype)
        for label, dtype in (("fp32", torch.float32), ("int8", torch.int8))
    }
    z, shares = Neuron(), [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5]
    lines: dict[str, list[float]] = {}
    libraries: dict[str, nn.Module] = {}
    for share in shares:
        x = (torch.rand(steps, batch, dim, size, size) < share).float()
        flat = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        if not libraries:
            for way in ("onnxruntime", "onnxruntime-int8", "openvino", "openvino-int8"):
                try:
                    libraries[way] = inference_way(way, cast("SpikingTransformer", layer), x)
                except ImportError as error:
                    print(error, file=sys.stderr)
        bytes_ = flat.to(torch.uint8)
        ways: dict[str, Callable[[], Any]] = {
            "bare dense product": lambda flat=flat: torch.conv2d(flat, conv.weight, conv.bias, padding=1),
            **{way: lambda p=p, b=bytes_: p(b, steps, z) for way, p in products.items()},
            **{way: lambda s=s, x=x: s(x) for way, s in libraries.items()},
        }
        with torch.inference_mode():
            found = medians(ways)
        for way, seconds in found.items():
            lines.setdefault(way, []).append(1000 * seconds)
        print(share, {way: round(1000 * seconds, 2) for way, seconds in found.items()}, flush=True)
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for way, times in lines.items():
        if way.startswith(("onnx", "openvino")):  # they know no zeros
            times = [statistics.median(times)] * len(times)
        style = "-o" if way.startswith("sparse") else "--"
        axes.plot([100 * share for share in shares], times, style, label=way, markersize=3)
    found = {f: 100 * float((out / f / "density.txt").read_text()) for f in FAMILIES if (out / f).exists()}
    for family, ones in found.items():
        side, gap = ("right", -4) if ones == min(found.values()) else ("left", 4)
        axes.axvline(ones, color="grey", linewidth=0.8)
        axes.annotate(
            f"{family}, trained\n({FAMILIES[family]} shortcuts)",
            (ones, 0.76), (gap, 0), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=7, ha=side,
        )  # fmt: skip
    axes.set(xlabel="ones among the inputs, %", ylabel="CPU time, ms", yscale="log")
    axes.set_title(f"3 x 3 convolution {dim} to {dim} and LIF, {size} x {size}, T {steps}, batch {batch}", fontsize=9)
    axes.legend(fontsize=7, ncol=2)
    axes.grid(alpha=0.3, which="both")
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def machine() -> str:
    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith(("model name", "flags"))
    ]
    wide = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "amx_tile") if f" {flag} " in f"{names[1]} "]
    packages = []
    for package in ("torch", "spikingjelly", "onnxruntime", "openvino"):
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            packages.append(f"no {package}")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    return (
        f"{names[0].partition(':')[2].strip()} ({', '.join(wide)}), one thread; {', '.join(packages)}, Python "
        f"{platform.python_version()}; commit {commit.strip()}, {datetime.date.today()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    for name in ("train", "accuracy", "trained"):
        command = what.add_parser(name)
        command.add_argument("data", type=Path)
        command.add_argument("out", type=Path)
    command = what.add_parser("published")
    command.add_argument("--only", help="one of the models, or spikformer, the narrow one of train")
    command.add_argument("--ones", type=float, help="another share of ones, such as 0.05")
    command = what.add_parser("training")
    command.add_argument("--name", default="spikformer_4_384_cifar10")
    command.add_argument("--batch", type=int, default=16)
    command = what.add_parser("picture")
    command.add_argument("out", type=Path)
    command.add_argument("file", type=Path)
    asked = vars(parser.parse_args())
    torch.set_num_threads(1)
    print(machine(), flush=True)
    commands = (train, accuracy, trained, published, training, picture)
    {command.__name__: command for command in commands}[asked.pop("what")](**asked)


if __name__ == "__main__":
    main()
