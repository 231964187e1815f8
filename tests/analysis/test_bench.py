"""What is timed and counted by a benchmark."""

import copy
import importlib.util
import itertools
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import spikeformers as sf
from spikeformers.analysis import FiringRates, bare_products, bench, inference_ways
from spikeformers.analysis.bench import _Products, _step
from spikeformers.analysis.bench_models import bench_ways, random_input
from spikeformers.analysis.inference_ways import inference_way


def tiny(depth=2):
    return sf.create_model("spikformer_4_384_cifar10", dim=32, depth=depth, num_heads=2, image_size=16, time_steps=2)


@pytest.fixture
def ticks(monkeypatch):
    """A clock that advances by 1 each time it is read: what is timed once takes 1, on any machine."""
    clock = itertools.count()
    monkeypatch.setattr(
        sys.modules["spikeformers.analysis.bench"], "time", SimpleNamespace(perf_counter=clock.__next__)
    )


def test_products_are_all_products_and_no_others(ticks):
    model, x = tiny().eval(), torch.randn(3, 3, 16, 16)
    with _Products() as products:
        _step(model, x, False, False)
    count = {}
    for (operator, *_), calls in products.calls.items():
        name = operator.overloadpacket.__name__
        count[name] = count.get(name, 0) + calls
    convolutions = sum(isinstance(m, nn.Conv2d) for m in model.modules())
    assert count == {"convolution": convolutions, "bmm": 2 * 2, "addmm": 1}
    training, evaluation = bare_products(model, x, repeats=3)
    assert evaluation == sum(count.values())
    assert training == 2 * convolutions + 3 * (2 * 2) + 3  # a product has two gradients; a convolution's are one call


def test_products_of_pytorchs_attention_are_among_them():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.mask = nn.Linear(6, 18), torch.zeros(5, 5)

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, -1)
            plain = nn.functional.scaled_dot_product_attention(q, k, v)
            return nn.functional.scaled_dot_product_attention(plain, k, v, attn_mask=self.mask, scale=2.0).mean(1)

    model, x = Own(), torch.randn(2, 5, 6)
    with _Products() as products:
        _step(model, x, True, False)
    names = [operator.overloadpacket.__name__ for operator, *_ in products.calls]
    assert len([name for name in names if name.startswith("_scaled_dot_product")]) == 4  # two, forward and backward
    assert min(bare_products(model, x, repeats=1)) > 0


def test_ways_side_by_side():
    model, x = tiny(depth=8), torch.randn(4, 3, 16, 16)
    calls = []
    plain, lean = bench(
        {"plain": model, "lean": sf.recompute_blocks(copy.deepcopy(model))}, x, bf16=True, repeats=2, after=calls.append
    )
    assert (plain.way, lean.way) == ("plain", "lean")
    assert plain.evaluation > 0
    assert plain.training > 0
    assert lean.peak < plain.peak
    assert len(calls) == 2 * (1 + 1 + 2) + 2 * (1 + 2)  # two ways: first, peak and two timed; first and two timed
    assert all(p.grad is None for p in model.parameters())


EVENTS = [name for name in sf.list_models() if "dvs" in name or "gesture" in name]


@pytest.mark.parametrize("name", [*EVENTS, "retinanet_spikingresformer_gesture", "fpn_spikingresformer_cifar10dvs"])
def test_events_are_timed_on_frames_that_differ(name):
    """A repeated image would have its first layer computed once, and three channels are no image."""
    with torch.device("meta"):
        model = sf.create_model(name)
    x = random_input(model, 1)
    assert x.shape == (model.time_steps, 1, model.in_channels, model.image_size, model.image_size)
    assert not any(torch.equal(frame, x[0]) for frame in x[1:])


def test_images_are_timed_as_images():
    assert random_input(tiny(), 2).shape == (2, 3, 16, 16)


def test_the_peak_is_what_is_alive_at_once():
    class Holds(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, x):
            big = torch.ones(4, 1 << 20)  # 16 MiB, kept for the gradient of the weight
            del x
            return (big * self.weight)[:, :10]

    (speed,) = bench({"holds": Holds()}, torch.ones(4, 1), repeats=1)
    assert 32 <= speed.peak < 70  # the product, and gradients of that size


def test_firing_rates_of_a_compiled_model():
    model, x = tiny().eval(), torch.randn(2, 3, 16, 16)
    with FiringRates(model) as plain:
        model(x)
    sf.compile(model, backend="eager")
    model(x)
    with FiringRates(model) as compiled:
        model(x)
    assert compiled.by_neuron() == plain.by_neuron() and len(compiled.by_neuron()) > 10


def test_ways_for_inference():
    size = dict(dim=32, depth=1, num_heads=2, image_size=16, time_steps=2, batch_size=3, repeats=1)
    speeds, _ = bench_ways("spikformer_4_384_cifar10", ["plain", "engine", "engine-int8"], **size)
    plain, *engines = speeds
    assert plain.training and plain.peak
    assert all(speed.evaluation > 0 and speed.training is None and speed.peak is None for speed in engines)
    with pytest.raises(ValueError, match="engine runs in fp32 or int8"):
        bench_ways("spikformer_4_384_cifar10", ["engine"], bf16=True, **size)


@pytest.fixture(scope="module")
def exported(lively, tmp_path_factory):
    """A model, its input and its ONNX file, made once: exporting takes as long as all else."""
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    model, x = tiny(depth=1), torch.randn(3, 3, 16, 16)
    lively(model, x)
    nn.init.normal_(model.head.linear.weight, std=3.0)  # else the bias, of the head alone, is most of the answer
    return model, x, inference_ways._exported(model, x, tmp_path_factory.mktemp("exported"))


# int8 flips some spikes of a network that was not trained.
@pytest.mark.parametrize(
    ("way", "most"), [("onnxruntime", 1e-4), ("onnxruntime-int8", 0.3), ("openvino", 1e-4), ("openvino-int8", 0.3)]
)
def test_other_libraries_answer_as_the_model(way, most, exported, monkeypatch):
    pytest.importorskip(way.removesuffix("-int8"))
    model, x, file = exported
    monkeypatch.setattr(inference_ways, "_exported", lambda model, x, folder: Path(shutil.copy(file, folder)))
    expected = model(x)
    assert (inference_way(way, model, x)(x) - expected).norm() < most * expected.norm()


@pytest.mark.parametrize("vnni", [True, False])
def test_weights_get_7_bits_where_sums_of_8_bits_saturate(vnni, exported, monkeypatch, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(inference_ways, "_has_vnni", lambda: vnni)
    _, x, file = exported
    graph = onnx.load(inference_ways._quantised(Path(shutil.copy(file, tmp_path)), x)).graph
    weights = [onnx.numpy_helper.to_array(one) for one in graph.initializer if one.data_type == onnx.TensorProto.INT8]
    largest = max(abs(numbers.astype(int)).max() for numbers in weights)
    assert 100 < largest <= 127 if vnni else 50 < largest <= 64


def test_says_which_library_is_missing(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    with pytest.raises(ImportError, match=r"openvino needs openvino: pip install 'openvino spikeformers\[onnx\]'"):
        inference_way("openvino", tiny(), torch.randn(1, 3, 16, 16))


@pytest.mark.skipif(torch.accelerator.is_available(), reason="compiling pays there")
def test_compiling_without_a_gpu_is_refused_in_one_line():
    model = sf.create_model("spikformer", dim=16, depth=1, num_heads=1, image_size=16, num_classes=2)
    with pytest.raises(
        ValueError, match=r"does not pay without a GPU.*: leave it out, or name backend='inductor'"
    ) as error:
        sf.compile(model)
    assert "\n" not in str(error.value)
    assert sf.compile(model, backend="eager") is model
