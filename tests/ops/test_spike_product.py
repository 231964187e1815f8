import math
import os
import platform
import subprocess
import sys

import pytest
import torch
from torch import nn

from spikeformers.ops.spike_product import Neuron, Window, build, kernels, reference
from spikeformers.ops.spike_product.neuron import INTEGER
from spikeformers.ops.spike_product.product import SpikeProduct, attention, fire, max_pool

NEURONS = {
    "none": None,
    "LIF": Neuron(),
    "tau 1.5": Neuron(tau=1.5, threshold=0.25),
    "IF, soft reset": Neuron(tau=math.inf, v_reset=None, decay_input=False),
    "reset below 0": Neuron(decay_input=False, v_reset=-0.5),
    "KLIF": Neuron(gain=1.5),
    "counts": Neuron(INTEGER, membrane=False, top=4, unit=0.25),
    "counts, half up": Neuron(INTEGER, membrane=False, half_up=True, top=8),
    "counts with a membrane": Neuron(INTEGER, tau=4 / 3, v_reset=None, decay_input=False, top=4),
}
# T, B, height, width, channels read and made, kernel, stride, padding, dilation, groups
SHAPES = {
    "one of everything": (1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1),
    "257 channels": (4, 2, 5, 7, 257, 33, 3, 1, 1, 1, 1),
    "two tiles and a bit, stride 2": (2, 3, 8, 8, 64, 130, 3, 2, 1, 1, 1),
    "linear": (4, 2, 4, 4, 384, 96, 1, 1, 0, 1, 1),
    "dilated": (2, 1, 9, 9, 12, 20, 3, 1, 2, 2, 1),
    "a band and a half": (2, 1, 25, 3, 8, 8, 3, 1, 1, 1, 1),
    "depthwise": (3, 2, 9, 9, 70, 70, 3, 1, 1, 1, 70),
    "depthwise, 5 x 5, stride 2": (2, 2, 8, 8, 16, 16, 5, 2, 2, 1, 16),
    "groups": (3, 2, 6, 6, 64, 96, 3, 1, 1, 1, 4),
    "groups of odd sizes": (2, 1, 5, 5, 130, 66, 1, 1, 0, 1, 2),
    "empty batch": (2, 0, 4, 4, 8, 8, 3, 1, 1, 1, 1),
}
needs_kernels = pytest.mark.skipif(kernels() is None, reason="this machine has no C++ compiler")


def dyadic(*shape, over=16, limit=16):
    """Numbers whose sums are exact in fp32 in any order."""
    return torch.randint(-limit, limit + 1, shape) / over


def weight_for(dtype, dim, in_dim, kernel):
    """Weights that int8 holds exactly."""
    if dtype == torch.float32:
        return dyadic(dim, in_dim, kernel, kernel, limit=8)
    weight = dyadic(dim, in_dim, kernel, kernel, over=128, limit=127)
    weight[:, 0, 0, 0] = 127 / 128
    return weight


def some_bytes(shape, density, most):
    x = (torch.rand(shape) < density).to(torch.uint8)
    return x * torch.randint(1, most + 1, x.shape, dtype=torch.uint8)


@needs_kernels
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int8], ids=["fp32", "int8"])
def test_product_equals_reference(shape, neuron, dtype):
    steps, batch, height, width, in_dim, dim, kernel, stride, padding, dilation, groups = SHAPES[shape]
    torch.manual_seed(0)
    z, pairs = NEURONS[neuron], [(n, n) for n in (stride, padding, dilation)]
    weight, bias = weight_for(dtype, dim, in_dim // groups, kernel), dyadic(dim)
    product = SpikeProduct(weight, bias, *pairs, groups, dtype)
    assert product.sparse and torch.equal(product.weight, weight)
    for density, most in ((0.2, 1), (0.2, 4), (0.0, 1), (1.0, 1)):
        x = some_bytes((steps * batch, in_dim, height, width), density, most)
        expected, flow = reference.conv(x, weight, bias, *pairs, groups, steps, z)
        spikes, current = product(x, steps, z, counts=most > 1, current=True)
        assert torch.equal(current, flow) and (z is None or torch.equal(spikes, expected))

        residual = dyadic(*flow.shape)
        expected, flow = reference.conv(x, weight, bias, *pairs, groups, steps, z, residual)
        spikes, current = product(x, steps, z, residual, counts=most > 1)
        assert (current is None) == (z is not None) and torch.equal(
            flow if z is None else expected, spikes if z else current
        )
        by_torch = product.dense(x, steps, z, residual)
        assert torch.equal(by_torch[0] if z else by_torch[1], expected if z else flow)


@needs_kernels
@pytest.mark.parametrize("most", [1, 255])
def test_int8_sums_beyond_16_bits(most):
    weight = torch.full((40, 2000, 1, 1), 127.0)
    weight[1::2] = -127
    product = SpikeProduct(weight, dtype=torch.int8)
    x = torch.full((2, 2000, 1, 1), most, dtype=torch.uint8)
    _, current = product(x, 1, counts=most > 1)
    assert torch.equal(current, torch.conv2d(x.double(), weight.double()).float())  # float32 rounds above 2**24


@needs_kernels
@pytest.mark.parametrize("flush", [False, True])
def test_int8_of_a_channel_without_weights_is_zero(flush):
    weight = torch.randn(8, 16, 1, 1)
    weight[3] = 0
    torch.set_flush_denormal(flush)
    try:
        product = SpikeProduct(weight, dtype=torch.int8)
        y = product.dense(torch.ones(1, 16, 1, 1, dtype=torch.uint8), 1)[1]
    finally:
        torch.set_flush_denormal(False)
    assert y.isfinite().all() and y[0, 3].item() == 0 and y.count_nonzero() == 7


def test_int8_rounds_to_127_levels_of_the_largest_weight():
    torch.manual_seed(0)
    weight = torch.randn(9, 33, 3, 3)
    product = SpikeProduct(weight, dtype=torch.int8, unit=0.5)
    step = weight.flatten(1).abs().amax(1).view(-1, 1, 1, 1) / 127
    assert ((product.weight - weight).abs() <= step * 0.5001).all()
    x = some_bytes((4, 33, 5, 5), 0.3, 1)
    torch.testing.assert_close(product(x, 2)[1], torch.conv2d(x * 0.5, product.weight), rtol=1e-5, atol=1e-5)


@needs_kernels
def test_product_of_views():
    """Bytes that are not laid out channels last, of which only some are read."""
    torch.manual_seed(0)
    weight = weight_for(torch.float32, 24, 40, 3)
    product = SpikeProduct(weight, padding=(1, 1))
    wide = some_bytes((3, 2, 80, 6, 12), 0.3, 1)
    for x in (wide[:, 0, ::2, :, ::2], wide[:, 1, :40].transpose(2, 3), wide[:1, 0, :40].expand(3, 40, 6, 12)):
        assert torch.equal(product(x, 3)[1], torch.conv2d(x.float(), weight, padding=1))


@needs_kernels
def test_same_result_for_any_number_of_threads():
    torch.manual_seed(0)
    product = SpikeProduct(torch.randn(40, 30, 3, 3), padding=(1, 1))
    x = some_bytes((10, 30, 20, 20), 0.2, 1)
    before, made = torch.get_num_threads(), []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        made.append(product(x, 2, Neuron(), current=True))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in made[1:] for a, b in zip(made[0], other, strict=True))


@needs_kernels
@pytest.mark.parametrize("neuron", [name for name, z in NEURONS.items() if z])
def test_neurons_fire_behind_currents_in_any_layout(neuron):
    torch.manual_seed(0)
    z = NEURONS[neuron]
    currents = {
        "rows": dyadic(4, 2, 5, 3, 3, limit=32),
        "channels last": dyadic(4, 2, 3, 3, 5, limit=32).permute(0, 1, 4, 2, 3),
        "the same at every step": dyadic(2, 5, 3, 3, limit=32).expand(4, 2, 5, 3, 3),
        "time after the batch": dyadic(2, 4, 5, 3, 3, limit=32).transpose(0, 1),
        "every other": dyadic(4, 2, 5, 3, 6, limit=32)[..., ::2],
        "one step, one number": dyadic(1, 1),
        "long": dyadic(2, 70_000, limit=32),
        "empty": dyadic(2, 0, 3),
        "fp64": dyadic(4, 5).double(),
    }
    for layout, x in currents.items():
        assert torch.equal(fire(x, z), reference.neuron(x, z)), layout


@needs_kernels
@pytest.mark.parametrize(
    "shape", [(4, 2, 64, 3, 32), (2, 1, 49, 4, 33), (1, 1, 1, 1, 1), (4, 1, 196, 2, 64), (2, 0, 4, 2, 8)]
)
@pytest.mark.parametrize("neuron", ["none", "LIF", "counts"])
@pytest.mark.parametrize("wider", [0, 5, 40])
def test_attention_equals_reference(shape, neuron, wider):
    torch.manual_seed(0)
    steps, batch, tokens, heads, dim = shape
    dims = (dim, dim, dim + wider)  # of a head of q, k and v
    z = NEURONS[neuron]
    for density, most in ((0.2, 1), (1.0, 1), (0.3, 4)):
        q, k, v = (some_bytes((steps, batch, tokens, heads, d), density, most).transpose(2, 3) for d in dims)
        flow = reference.attention(q, k, v, 0.125)
        expected = reference.neuron(flow, z) if z else flow
        assert torch.equal(attention(q, k, v, 0.125, z, top=most), expected)
        assert torch.equal(attention(q.clone(), k, v.contiguous(), 0.125, z, top=most), expected)  # in another layout


@needs_kernels
def test_max_pool_equals_torch():
    torch.manual_seed(0)
    for channels, size, window in (
        (37, 9, Window((3, 3), (2, 2), (1, 1))),
        (1, 4, Window((2, 2), (2, 2))),
        (64, 7, Window((3, 2), (1, 2), (1, 1), (2, 1))),
    ):
        x = torch.randint(0, 256, (3, channels, size, size), dtype=torch.uint8)
        expected = nn.functional.max_pool2d(x.float(), *window).to(torch.uint8)
        assert torch.equal(max_pool(x, window), expected)
    x = torch.randint(0, 5, (2, 3, 6, 6), dtype=torch.uint8)
    expected = nn.functional.max_pool2d(x.float(), 3, 2, ceil_mode=True).to(torch.uint8)
    assert torch.equal(max_pool(x, Window((3, 3), (2, 2)), (3, 3)), expected)


SPIKES = torch.zeros(4, 8, 5, 5, dtype=torch.uint8)
WEIGHT = torch.zeros(6, 8, 3, 3)
REFUSED = {
    "numbers that are no bytes": (
        lambda: SpikeProduct(WEIGHT)(SPIKES.float(), 2),
        r"float32 .* is not \[T B, 8, H, W\]",
    ),
    "other channels": (lambda: SpikeProduct(WEIGHT)(SPIKES[:, :7], 2), r"\[4, 7, 5, 5\] .* is not \[T B, 8, H, W\]"),
    "no batch": (lambda: SpikeProduct(WEIGHT)(SPIKES[0], 1), r"is not \[T B, 8, H, W\]"),
    "steps that do not divide": (lambda: SpikeProduct(WEIGHT)(SPIKES, 3), "4 maps are not 3 steps"),
    "no steps": (lambda: SpikeProduct(WEIGHT)(SPIKES, 0), "4 maps are not 0 steps"),
    "a map below the kernel": (
        lambda: SpikeProduct(WEIGHT)(SPIKES[..., :2], 2),
        "map of 5 x 2 is smaller than the kernel",
    ),
    "another residual": (
        lambda: SpikeProduct(WEIGHT)(SPIKES, 2, None, torch.zeros(4, 6, 3, 4)),
        "the residual must be",
    ),
    "another bias": (lambda: SpikeProduct(WEIGHT, torch.zeros(5)), r"the bias must be of shape \[6\], not \[5\]"),
    "groups that do not divide": (lambda: SpikeProduct(WEIGHT, groups=4), "in 4 groups is not"),
    "a flat weight": (lambda: SpikeProduct(WEIGHT[..., 0]), r"a weight of \[6, 8, 3\]"),
    "no weight": (lambda: SpikeProduct(WEIGHT[:0]), r"a weight of \[0, 8, 3, 3\]"),
    "stride 0": (lambda: SpikeProduct(WEIGHT, stride=(0, 1)), "at least 1, 0 and 1"),
    "half weights": (lambda: SpikeProduct(WEIGHT, dtype=torch.float16), "torch.float32 or torch.int8"),
    "a pool of numbers": (lambda: max_pool(SPIKES.float(), Window((2, 2))), r"is not \[B, C, H, W\] of uint8"),
    "attention of unlike shapes": (
        lambda: attention(SPIKES[None], SPIKES[None], SPIKES[None, :2], 1.0),
        "not q, k and v",
    ),
    "counts above a byte": (lambda: Neuron(INTEGER, top=256), "top 256 is not in 1 to 255"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_would_read_outside(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


@needs_kernels
def test_too_large_for_the_lists_numbers():
    with pytest.raises(ValueError, match=r"a map of 8 x 1 x 300000000 .* is too large"):
        SpikeProduct(torch.ones(1, 8, 1, 1))(torch.zeros(1, 8, 1, 1, dtype=torch.uint8).expand(1, 8, 1, 300_000_000), 1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.product = SpikeProduct(weight_for(torch.float32, 12, 8, 3), padding=(1, 1))
        self.neuron = Neuron()

    def forward(self, x):
        spikes, current = self.product(fire(x, self.neuron).flatten(0, 1), 2, self.neuron, current=True)
        return spikes, max_pool(spikes, Window((2, 2), (2, 2))), current * 2


@needs_kernels
@pytest.mark.parametrize("way", ["export", "compile"])
def test_torch_compile_and_export_pass_over_the_kernels(way):
    torch.manual_seed(0)
    block, x = Block(), dyadic(2, 3, 8, 6, 6, limit=32)
    expected = block(x)
    if way == "export":
        program = torch.export.export(block, (x,), strict=False)
        assert any("spike_product" in str(node.target) for node in program.graph.nodes)
        made = program.module()(x)
    else:
        made = torch.compile(block, backend="aot_eager", fullgraph=True)(x)
    assert all(torch.equal(a, b) for a, b in zip(made, expected, strict=True))


# ---- building


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a process that has not looked for kernels yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "FLAGS", ("-O0", *build.FLAGS[1:]))  # quick to compile
    build.found.cache_clear()
    yield tmp_path / "cache" / "spikeformers"
    build.found.cache_clear()


needs_compiler = pytest.mark.skipif(
    kernels() is None or sys.platform != "linux", reason="no compiler, or another cache"
)


@needs_compiler
def test_compiles_once_into_a_private_folder(cache, monkeypatch):
    assert kernels() is not None
    (library,) = cache.iterdir()
    assert cache.stat().st_mode & 0o077 == 0 and library.stat().st_mode & 0o077 == 0
    build.found.cache_clear()
    made = library.stat().st_mtime_ns
    assert kernels() is not None and library.stat().st_mtime_ns == made


@needs_compiler
def test_an_account_without_a_home_has_no_kernels(cache, monkeypatch, caplog):
    monkeypatch.delenv("XDG_CACHE_HOME")

    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(build.Path, "home", home)
    assert kernels() is None
    assert "spike kernels are off, and torch does their work: Could not determine home directory." in caplog.text


@needs_compiler
def test_two_processes_that_begin_together_both_have_kernels(cache):
    call = (
        "from spikeformers.ops.spike_product import build; build.FLAGS = ('-O0', *build.FLAGS[1:]);"
        "assert build.kernels() is not None"
    )
    both = [subprocess.Popen([sys.executable, "-c", call], env=os.environ) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert len(list(cache.iterdir())) == 1


def no_compiler(cache, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)


def cache_is_a_file(cache, monkeypatch):
    cache.parent.mkdir()
    cache.write_text("")


def compiler_refuses(cache, monkeypatch):
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-march=abacus"))


def library_is_damaged(cache, monkeypatch):
    library = build._library_for(build._compiler())
    library.parent.mkdir(parents=True)
    library.write_bytes(b"half a library")


def library_is_another(cache, monkeypatch, source=""):
    library = build._library_for(build._compiler())
    library.parent.mkdir(parents=True)
    command = ["c++", "-shared", "-fPIC", "-x", "c++", "-", "-o", str(library)]
    subprocess.run(command, input=source, text=True, check=True)


def library_is_of_other_vectors(cache, monkeypatch):
    source = "".join(f'extern "C" int {name}() {{ return 3; }}\n' for name in build._ARGUMENTS)
    library_is_another(cache, monkeypatch, source)


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flag is x86's")
def test_the_kernels_compile_for_processors_without_avx2():
    command = [build._compiler(), "-fsyntax-only", "-march=x86-64", "-std=c++17", "-w", str(build.SOURCE)]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""


@needs_compiler
@pytest.mark.parametrize(
    "harm, says",
    [
        (no_compiler, "no C++ compiler (c++, g++ or clang++): install one, or name it in CXX"),
        (cache_is_a_file, "File exists"),
        (compiler_refuses, "abacus"),
        (library_is_damaged, ".so cannot be loaded (file too short): delete it, and it is built again"),
        (library_is_another, "undefined symbol: sf_lanes): delete it"),
        (library_is_of_other_vectors, ".so cannot be loaded (its vectors hold 3 numbers): delete it"),
    ],
)
def test_without_kernels_torch_computes_and_one_line_says_why(harm, says, cache, monkeypatch, caplog):
    harm(cache, monkeypatch)
    assert kernels() is None and kernels() is None
    (line,) = [record.message for record in caplog.records if record.name == "spikeformers"]
    assert says in line and "\n" not in line
    torch.manual_seed(0)
    x, weight, z = some_bytes((4, 8, 5, 5), 0.3, 1), weight_for(torch.int8, 6, 8, 3), Neuron()
    product = SpikeProduct(weight, dtype=torch.int8)
    spikes, flow = product(x, 2, z, current=True)
    expected = reference.conv(x, weight, None, (1, 1), (0, 0), (1, 1), 1, 2, z)
    assert not product.sparse and torch.equal(spikes, expected[0]) and torch.equal(flow, expected[1])
    assert torch.equal(fire(x.unflatten(0, (2, 2)).float(), z), reference.neuron(x.unflatten(0, (2, 2)).float(), z))
    assert max_pool(x, Window((2, 2), (2, 2))).shape == (4, 8, 2, 2)
    q = x[None].transpose(1, 2)
    assert torch.equal(attention(q, q, q, 1.0), reference.attention(q, q, q, 1.0))


def test_switch_turns_them_off(monkeypatch, caplog):
    monkeypatch.setenv(build.OFF, "1")
    assert kernels() is None and not caplog.messages
