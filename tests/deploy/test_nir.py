"""Graphs of NIR: what other simulators make of them, and which parts have none."""

import contextlib
import io
import json
import re

import nir
import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, build
from torch import nn

import spikeformers as sf
from spikeformers.cli import main
from spikeformers.deploy.formats.files import METADATA
from spikeformers.deploy.nir_run import run_nir
from spikeformers.neurons import IF, LIF, PLIF

SMALL = dict(
    dim=16, depth=2, num_heads=2, strides=(2, 2), image_size=16, in_channels=2, num_classes=5,
    attention="DepthwiseMixer", stem="Patches",
)  # fmt: skip
FRAMES = torch.poisson(torch.rand(6, 3, 2, 16, 16, generator=torch.Generator().manual_seed(0)))  # T B C H W


@pytest.fixture
def small(lively):
    def made(**settings):
        torch.manual_seed(0)
        return lively(sf.create_model("spikformer", **{**SMALL, **settings}), FRAMES)

    return made


def spikes_of(model, neurons, run):
    """What neurons send while `run()` runs, by name."""
    sent = {name: [] for name in neurons}

    def note(name):
        return lambda _, inputs, output: sent[name].append(output[0] if isinstance(output, tuple) else output)

    hooks = [model.get_submodule(module).register_forward_hook(note(name)) for name, module in neurons.items()]
    with torch.no_grad():
        answer = run()
    for hook in hooks:
        hook.remove()
    return answer, {name: torch.cat(steps).view(len(FRAMES), len(FRAMES[0]), -1) for name, steps in sent.items()}


def ours(model):
    folded = sf.deploy.fold(model)
    neurons = {name: name for name, module in folded.named_modules() if getattr(module, "levels", None)}
    return spikes_of(folded, neurons, lambda: folded.forward_steps(FRAMES))


def theirs(network, neurons):
    """Step by step, by another simulator."""

    def steps():
        answers, state = [], None
        for frame in FRAMES:
            answer, state = network(frame, state)
            answers.append(answer)
        return torch.stack(answers)

    return spikes_of(network, {name: name.replace(".", "_") for name in neurons}, steps)


def in_spikingjelly(graph):
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return import_from_nir(graph, dt=1e-4)


def in_snntorch(graph):
    from snntorch.import_nir import import_from_nir

    with contextlib.redirect_stdout(io.StringIO()):  # it warns that it scales thresholds instead of inputs
        return import_from_nir(graph)


def in_norse(graph):
    from norse.torch.utils.import_nir import from_nir

    pool, linear = graph.nodes["head.mean"], graph.nodes["head.linear"]  # Norse 1.1 passes over average pools
    graph.nodes["head.mean"] = nir.SumPool2d(pool.kernel_size, pool.stride, pool.padding)
    linear.weight = linear.weight / np.prod(pool.kernel_size)
    return from_nir(nir.NIRGraph(graph.nodes, graph.edges))


@pytest.mark.parametrize("read, dt", [(in_spikingjelly, 1e-4), (in_snntorch, 1e-4), (in_norse, 1e-3)])
def test_others_send_the_same_spikes_at_every_step(small, read, dt, tmp_path):
    model = small()
    nir.write(tmp_path / "model.nir", sf.deploy.to_nir(model, dt=dt))
    expected, fired = ours(model)
    assert len(fired) == 8 and all(0.02 < spikes.mean() < 0.98 for spikes in fired.values())
    assert expected.std(0).mean() > 0.01  # steps differ
    said, sent = theirs(read(nir.read(tmp_path / "model.nir")), fired)
    for name, spikes in fired.items():
        assert torch.equal(sent[name], spikes), name
    torch.testing.assert_close(said, expected, rtol=0, atol=1e-5)


NEURONS = {
    "tau": {"part": "LIF", "tau": 4.0},
    "no decay of the input": {"part": "LIF", "tau": 3.0, "decay_input": False, "v_threshold": 1.5},
    "another reset": {"part": "LIF", "v_reset": -0.5},
    "PLIF": "PLIF",
    "IF": "IF",
}


@pytest.mark.parametrize("neuron", NEURONS.values(), ids=NEURONS)
def test_neurons_with_other_numbers(small, neuron, tmp_path):
    model = small(neuron=neuron, depth=1)
    for plif in (module for module in model.modules() if isinstance(module, PLIF)):
        nn.init.constant_(plif.w, 0.4)
    nir.write(tmp_path / "model.nir", sf.deploy.to_nir(model))
    graph = nir.read(tmp_path / "model.nir")
    expected, fired = ours(model)
    assert all(0.02 < spikes.mean() < 0.98 for spikes in fired.values())
    for said, sent in (theirs(in_spikingjelly(graph), fired), (run_nir(graph, FRAMES, 1e-4), fired)):
        assert all(torch.equal(sent[name], spikes) for name, spikes in fired.items())
        torch.testing.assert_close(said, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 0.5])
@pytest.mark.parametrize("neuron", [LIF(tau=4), LIF(tau=3, decay_input=False, v_reset=-1.0), IF()], ids=str)
def test_a_neurons_numbers_follow_from_dt(small, neuron, dt):
    model = small(depth=1)
    model.stem.neuron = neuron
    node = sf.deploy.to_nir(model, dt=dt).nodes["stem.neuron"]
    currents, v = np.array([0.3, 0.9, -0.2, 2.0, 0.4]), float(neuron.v_reset)
    membrane = torch.tensor([v], dtype=torch.float64)
    for current in currents:  # an Euler step of NIR's equation
        if isinstance(neuron, IF):
            v += dt * node.r[0, 0, 0] * current
        else:
            v += dt / node.tau[0, 0, 0] * (node.v_leak[0, 0, 0] - v + node.r[0, 0, 0] * current)
        fired = v > node.v_threshold[0, 0, 0]
        v = node.v_reset[0, 0, 0] if fired else v
        spike, membrane = neuron.step(torch.tensor([current]), membrane)
        assert (fired, v) == (bool(spike), pytest.approx(membrane.item()))


def test_a_membrane_at_the_threshold_fires_in_all(small):
    """NIR fires above the threshold, SpikingJelly at it, as we do."""
    model = small(depth=1)
    with torch.no_grad():
        nn.init.zeros_(model.stem.proj.conv.weight)
        nn.init.zeros_(model.stem.proj.norm.weight)
        nn.init.constant_(model.stem.proj.norm.bias, 2.0)  # half of it is the threshold
    _, fired = ours(model)
    assert fired["stem.neuron"].all()
    for read in (in_spikingjelly, in_snntorch):
        _, sent = theirs(read(sf.deploy.to_nir(model)), fired)
        assert sent["stem.neuron"].all()


def test_a_file_holds_the_graph(small, tmp_path):
    model = small()
    graph = sf.deploy.to_nir(model, dt=2e-4)
    nir.write(tmp_path / "model.nir", graph)
    again = nir.read(tmp_path / "model.nir")
    assert again.metadata["dt"] == 2e-4
    assert sorted(again.edges) == sorted(graph.edges) and again.nodes.keys() == graph.nodes.keys()
    for name, node in graph.nodes.items():
        for key, value in node.to_dict().items():
            np.testing.assert_array_equal(np.asarray(again.nodes[name].to_dict()[key]), np.asarray(value))
    modules = {name for name, _ in model.named_modules()}
    assert {name for name in graph.nodes if name not in modules} == {
        "input",
        "output",
        "head.mean",
        "head.linear.flatten",
    }
    assert ("stem.neuron", "blocks.0.attn.core.proj.conv") in graph.edges  # the stream is the sum of two neurons
    assert ("position.neuron", "blocks.0.attn.core.proj.conv") in graph.edges
    assert (tmp_path / "model.nir").stat().st_size < 1e6


LEVELS = "levels from 0 to {} in place of 0 and 1"
LACKS = {  # what NIR has no node for, of families with a row; SEW-ResNet is written as it is
    "spikformer": {"MaxPool: max_pool2d", "SSA: a product of two signals"},
    "spikformer_v2": {"SSA: a product of two signals"},
    "spikingformer": {"MaxPool: max_pool2d", "SSA: a product of two signals"},
    "spikingresformer": {"DSSA: a product of two signals"},
    "sdt": {"MaxPool: max_pool2d", "SDSA: a product of two signals"},
    "sdt_v2": {"SSA: a product of two signals"},
    "sdt_v3": {
        "WideSSA: a product of two signals",
        *(f"IntegerHalfEven: 5 {LEVELS.format(top)}" for top in (1, 4)),
    },
    "sdt_v3_large": {"SSA: a product of two signals", f"IntegerHalfUp: 5 {LEVELS.format(1)}"},
    "qsd": {"SSA: a product of two signals", *(f"IELIF: 5 {LEVELS.format(top)}" for top in (1, 2))},
    "qkformer": {"QKTA: a product of two signals", "MaxPool: max_pool2d", "SSA: a product of two signals"},
    "maxformer": {"MaxPool: max_pool2d", "SSA: a product of two signals"},
    "msvit": {
        "_RowConvNorm: getitem",
        "SpikeConv2d: conv2d",
        "MSSA: a product of two signals",
        "MaxPool: max_pool2d",
        "SSA: a product of two signals",
    },
    "sglformer": {"MaxPool: max_pool2d", "DilatedWindowSSA: a product of two signals", "SSA: a product of two signals"},
    "swformer": {"MaxPool: max_pool2d", "WaveletMixer: matmul", "TernaryIF: 3 levels from -1 to 1 in place of 0 and 1"},
    "sew_resnet": set(),
    "sew_resnet_bottleneck": {"MaxPool: max_pool2d"},
}


@pytest.mark.parametrize("family", {**dict.fromkeys(FAMILIES), **LACKS})
def test_every_family_is_refused_by_its_parts_and_written_with_the_nearest(family, lively):
    nearest, lacks = {}, set()
    try:
        sf.deploy.to_nir(build(family))
    except ValueError as refused:
        message = str(refused)
        assert "NIR cannot express" in message and "\n" not in message
        lacks = {kind for kind, _ in re.findall(r"\((\w+: [^;]+); (nearest)", message)}
        nearest = dict(re.findall(r"(\w+)=(\w+)", message))
    assert lacks == LACKS.get(family, lacks)
    torch.manual_seed(0)
    model = build(family, **nearest)
    frames = torch.poisson(torch.rand(2, 2, *model.image_shape))
    folded = sf.deploy.fold(lively(model, frames))
    said = run_nir(sf.deploy.to_nir(folded), frames.double(), 1e-4)  # single spikes flip in float32
    torch.testing.assert_close(said, folded.double().forward_steps(frames.double()), rtol=0, atol=1e-6)


def test_the_error_names_every_part():
    model = sf.create_model("spikformer", **{**SMALL, "depth": 3, "attention": "SSA", "stem": "SPS"})
    with pytest.raises(ValueError) as refused:
        sf.deploy.to_nir(model)
    assert str(refused.value) == (
        "NIR cannot express 5 parts of this model: "
        "stem.stages.{0,1}.pool (MaxPool: max_pool2d; nearest: stem=Patches); "
        "blocks.{0,1,2}.attn.core (SSA: a product of two signals; nearest: attention=DepthwiseMixer)"
    )


REFUSED = {
    "a reset by subtraction, v_reset=None; nearest: v_reset=0": dict(neuron={"part": "LIF", "v_reset": None}),
    "no LIF, PLIF or IF; nearest: neuron=LIF": dict(neuron="KLIF"),
    "5 levels from 0 to 1 in place of 0 and 1; nearest: neuron=LIF": dict(neuron="IntegerHalfEven"),
    "SEWIandShortcut: a product of two signals; nearest: shortcut=SEWShortcut": dict(shortcut="SEWIandShortcut"),
    "AvgPool2d: avg_pool2d; nearest: attention=DepthwiseMixer": dict(attention="AvgPoolMixer"),
    "CausalSSA: a product of two signals; nearest: attention=DepthwiseMixer": dict(attention="CausalSSA"),
    "nearest: position=ConvPosition": dict(position="CPGPosition"),
}


@pytest.mark.parametrize("said, settings", REFUSED.items(), ids=lambda value: "")
def test_parts_that_nir_lacks(said, settings):
    with pytest.raises(ValueError, match=rf"NIR cannot express .*{re.escape(said)}"):
        sf.deploy.to_nir(sf.create_model("spikformer", **{**SMALL, **settings}))


class _Mixer(nn.Module):
    """What a part may do that NIR has nodes for: pools, factors, norms, differences, and the same signal twice."""

    def __init__(self, dim, num_heads, neuron, *, bias=False):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(dim, dim, 2, 2, groups=4, bias=False), nn.BatchNorm2d(dim)
        self.pool, self.factor = nn.AvgPool2d(2), nn.Parameter(torch.rand(dim, 1, 1) + 0.5)
        self.up = nn.Conv2d(dim, dim, 1, padding=1)

    def forward(self, x):
        steps, batch = x.shape[:2]
        x = x.flatten(0, 1)
        y = self.norm(self.conv(x)) - self.pool(x) * self.factor
        self.up(self.pool(x))  # whose result nobody reads
        return self.up(y + y / 2 + y).unflatten(0, (steps, batch))


class _Mixes(_Mixer):
    def forward(self, x):
        return super().forward(x - x.roll(1, 0))


def test_a_part_of_ones_own(small, tmp_path):
    model = small(attention=_Mixer, depth=1)
    nir.write(tmp_path / "model.nir", sf.deploy.to_nir(model))
    said = run_nir(nir.read(tmp_path / "model.nir"), FRAMES.double(), 1e-4)
    expected = sf.deploy.fold(model).double().forward_steps(FRAMES.double())
    torch.testing.assert_close(said, expected, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"1 part of this model: blocks\.0\.attn\.core \(_Mixes: roll; nearest: att"):
        sf.deploy.to_nir(small(attention=_Mixes, depth=1))


def test_wrong_arguments(small, monkeypatch):
    with pytest.raises(ValueError, match=r"dt 0 is not above 0: give the seconds of a step"):
        sf.deploy.to_nir(small(depth=1), dt=0)
    with pytest.raises(ValueError, match="a Linear is not written to NIR: give a classifier"):
        sf.deploy.to_nir(nn.Linear(1, 1))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs nir: pip install 'spikeformers\[nir\]'"):
        sf.deploy.to_nir(small(depth=1))


def test_export_checks_the_file_and_carries_the_settings(small, tmp_path, capsys):
    model = small(depth=1)
    file = sf.save_pretrained(model, tmp_path / "weights.safetensors", classes=list("abcde"))
    with pytest.raises(SystemExit) as left:
        main(["export", str(file), "--to", "nir", "--noise", "--out", str(tmp_path / "out")])
    assert left.value.code == 0
    assert f"{tmp_path / 'out' / 'model.nir'}: 100.00% of 16 images of noise" in capsys.readouterr().out
    graph = nir.read(tmp_path / "out" / "model.nir")
    settings = json.loads(graph.metadata[METADATA])
    assert settings["classes"] == list("abcde") and graph.metadata["dt"] == 1e-4
    torch.testing.assert_close(run_nir(graph, FRAMES, 1e-4), model.forward_steps(FRAMES), rtol=0, atol=1e-5)


def test_a_refused_export_writes_nothing(tmp_path, capsys):
    file = sf.save_pretrained(build("spikformer"), tmp_path / "weights.safetensors")
    with pytest.raises(SystemExit) as left:
        main(["export", str(file), "--to", "nir", "--noise", "--out", str(tmp_path / "out")])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "NIR cannot express 4 parts" in line and not (tmp_path / "out").exists()
    with pytest.raises(
        ValueError, match="the NIR graph is for frames of 2 x 16 x 16, the model's size, not of 2 x 8 x 8"
    ):
        small = sf.create_model("spikformer", **SMALL)
        sf.deploy.export(small, tmp_path / "out", "nir", inputs=torch.zeros(2, 1, 2, 8, 8))
