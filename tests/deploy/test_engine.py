"""A spike engine computes what the folded model computes, in fewer and cheaper steps."""

import copy
import functools
import json
import re
from typing import Any

import pytest
import torch
from tiny_models import FAMILIES, build
from torch import nn

import spikeformers as sf
from spikeformers.deploy import fold, load_engine, spike_engine
from spikeformers.layers.attention.ssa import SSA
from spikeformers.layers.mlp import MLP
from spikeformers.neurons import KLIF, LIF, PLIF
from spikeformers.ops.spike_product import kernels
from spikeformers.ops.spike_product.build import OFF

needs_kernels = pytest.mark.skipif(kernels() is None, reason="this machine has no C++ compiler")


def exact(model):
    """A folded model whose sums are exact in any order, in fp32 and with int8 weights."""
    folded = fold(model)
    with torch.no_grad():
        for module in folded.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                weight = module.weight
                step = 2 ** torch.ceil(torch.log2(weight.abs().max() / 127))
                weight.copy_((weight / step).round() * step)
                weight[(slice(None), *[0] * (weight.ndim - 1))] = 127 * step
                if module.bias is not None:
                    module.bias.copy_((module.bias * 64).round() / 64)
    return folded


def images(model, batch=2):
    """Images or frames whose numbers are exact."""
    shape = (batch, model.in_channels, model.image_size, model.image_size)
    return torch.randint(-12, 13, shape) / 4


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    model = build("spikformer")
    return exact(model)


@pytest.fixture(scope="module")
def small_engine(small):
    """For tests that change nothing of it."""
    return spike_engine(small, images(small))


@pytest.mark.parametrize("weights", [torch.float32, torch.int8], ids=["fp32", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_as_its_folded_model(family, weights, lively, tmp_path):
    torch.manual_seed(0)
    model = build(family)
    x = images(model)
    model = exact(lively(model, x))
    engine = spike_engine(model, x, weights=weights)
    expected = model.forward_features(x)
    assert expected.count_nonzero() > 0
    assert torch.equal(engine.forward_features(x), expected)
    torch.testing.assert_close(engine(x), model(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(engine.forward_steps(x), model.forward_steps(x), rtol=1e-6, atol=1e-6)
    assert all(name.endswith("(TernaryIF)") for name in engine.foreign)  # SWformer's, which torch computes
    assert torch.equal(load_engine(engine.save(tmp_path / "engine.safetensors")).forward_features(x), expected)
    if kernels() is not None:
        assert sum(row.what == "product" for row in engine.plan) > 4
        for step in engine.steps:  # all ways of all products
            for way in step.ways:
                step.way = way
            step.way = "sparse" if "sparse" in step.ways else step.way
        assert torch.equal(engine.forward_features(x), expected)
        for step in engine.steps:
            step.way = "dense" if "dense" in step.ways else step.way
        assert torch.equal(engine.forward_features(x), expected)


class ClearsSome(SSA):
    def attend(self, q, k, v, height, width):
        y = (q @ k.transpose(-2, -1)) @ v * 0.25
        y[..., :4] = 0
        return y


class AddsToSome(SSA):
    def attend(self, q, k, v, height, width):
        v = v.clone()
        v[..., 1:] += k[..., :-1]
        return q * v * 0.5


class SilencesSome(MLP):
    def forward(self, x):
        s = self.neuron(self.fc1(x))
        s[:, :, :8] = 0
        return self.fc2(s)


@pytest.mark.parametrize("part", [{"attention": ClearsSome}, {"attention": AddsToSome}, {"mlp": SilencesSome}])
def test_what_a_part_writes_into_a_piece_of_a_tensor_counts(part, lively):
    torch.manual_seed(0)
    model = build("spikformer", depth=1, **part)
    x = images(model)
    model = exact(lively(model, x))
    engine = spike_engine(model, x)
    assert torch.equal(engine.forward_features(x), model.forward_features(x))


def test_a_probe_can_be_trained_on_its_answers(small_engine, small):
    x = images(small)
    for answer in (small_engine(x), small_engine.forward_steps(x), small_engine.forward_features(x)):
        probe = nn.Linear(answer.shape[-1], 2)
        probe(answer).sum().backward()
        assert probe.weight.grad.isfinite().all()


@needs_kernels
def test_no_current_is_written_where_a_neuron_reads_it(small):
    engine = spike_engine(small, images(small))
    assert [row.what for row in engine.plan].count("neuron") == 1  # after the image's own convolution
    values = engine._run(images(small))
    kept = {name for name in values if name not in engine.constants}
    assert kept == {*engine._made}


def test_other_batches_than_it_was_made_for(small):
    torch.manual_seed(1)
    x = images(small, 5)
    engine = spike_engine(small, [images(small, 3), images(small, 1)])
    for batch in (x, x[:1], x[:0], x[::2], x.to(memory_format=torch.channels_last)):
        assert torch.equal(engine.forward_features(batch), small.forward_features(batch))


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_a_batch_is_run_in_parts_that_fit_the_cache(small, at_once):
    x = images(small, 5)
    engine = spike_engine(small, x)
    assert engine.images_at_once > 1
    engine.images_at_once = at_once
    assert torch.equal(engine.forward_features(x), small.forward_features(x))
    assert engine(x).shape == (5, 10) == engine(x).new_empty(5, engine.num_classes).shape


def test_two_threads_answer_as_one(small):
    x, before = images(small, 3), torch.get_num_threads()
    engine = spike_engine(small, x)
    torch.set_num_threads(2)
    try:
        assert torch.equal(engine.forward_features(x), small.forward_features(x))
    finally:
        torch.set_num_threads(before)


def test_sequences_of_frames(lively):
    torch.manual_seed(0)
    model = build("sdt_events")
    x = torch.stack([images(model), images(model)])
    model = exact(lively(model, x))
    engine = spike_engine(model, x)
    assert torch.equal(engine.forward_features(x), model.forward_features(x))
    other = torch.stack([images(model, 3), images(model, 3)])
    assert torch.equal(engine.forward_features(other), model.forward_features(other))
    torch.testing.assert_close(engine(other), model(other), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("weights", [torch.float32, torch.int8], ids=["fp32", "int8"])
def test_saved_and_read_again(small, weights, tmp_path):
    x = images(small)
    engine = spike_engine(small, x, weights=weights)
    path = engine.save(tmp_path / "small.safetensors")
    again = load_engine(path)
    assert torch.equal(again(x), engine(x))
    assert [(row.layer, row.what, row.way, row.density) for row in again.plan] == [
        (row.layer, row.what, row.way, row.density) for row in engine.plan
    ]


def test_read_on_another_processor_it_is_planned_anew(small, tmp_path, monkeypatch, caplog):
    x = images(small)
    path = spike_engine(small, x).save(tmp_path / "small.safetensors")
    monkeypatch.setattr("spikeformers.deploy.engine.loading.processor", lambda: "an abacus")
    engine = load_engine(path)
    said = [record.message for record in caplog.records if record.name == "spikeformers"]
    assert said == [f"{path} was planned on another processor: call its tune(batches) to plan it on this one"]
    assert torch.equal(engine.forward_features(x), small.forward_features(x))
    engine.tune([x])
    assert torch.equal(engine.forward_features(x), small.forward_features(x))


def test_a_model_in_training_gives_an_engine_of_its_eval_form(lively):
    torch.manual_seed(0)
    model = build("spikformer")
    x = images(model)
    model = lively(model, x).train()
    state = copy.deepcopy(model.state_dict())
    engine = spike_engine(model, x)
    assert model.training and all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    torch.testing.assert_close(engine(x), model.eval()(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("neuron", [PLIF, KLIF, lambda v_threshold=1.0: LIF(v_threshold=v_threshold, v_reset=None)])
def test_other_neurons_of_ours_are_fused(neuron, lively):
    torch.manual_seed(0)
    model = build("spikformer", neuron=neuron, depth=1)
    x = images(model)
    model = exact(lively(model, x))
    engine = spike_engine(model, x)
    assert torch.equal(engine.forward_features(x), model.forward_features(x)) and not engine.foreign


def test_neurons_of_spikingjelly_are_left_to_torch_and_named(lively):
    pytest.importorskip("spikingjelly")
    torch.manual_seed(0)
    model = build("spikformer", neuron=sf.neurons.from_spikingjelly("LIFNode", tau=2.0), depth=1)
    x = images(model)
    model = exact(lively(model, x))
    engine = spike_engine(model, x)
    assert torch.equal(engine.forward_features(x), model.forward_features(x))
    assert "stem.stages.0.neuron (SpikingJellyNeuron)" in engine.foreign


def test_a_neuron_that_computes_in_fp32_leaves_no_graph_inside_the_graph():
    """PSN turns autocast off, which an exported program would note as a graph of its own."""
    torch.manual_seed(0)
    model = build("spikformer", neuron="PSN", depth=1, dim=16).eval()
    x = images(model)
    engine = spike_engine(model, x)
    torch.testing.assert_close(engine(x), model(x))
    assert "stem.stages.0.neuron (PSN)" in engine.foreign


def engine_of_a_readers_own(lively, **part):
    """The engine of a model with this part, which gives exactly the model's features."""
    torch.manual_seed(0)
    model = build("spikformer", **part, depth=1)
    x = images(model)
    model = exact(lively(model, x))
    engine = spike_engine(model, x)
    assert torch.equal(engine.forward_features(x), model.forward_features(x))
    return engine


class Ours(SSA):
    """A reader's own attention, of known operations."""

    def attend(self, q, k, v, height, width):
        return (q @ k.transpose(-2, -1)) @ v * 0.25


@needs_kernels
def test_a_readers_own_attention_is_fast_too(lively):
    engine = engine_of_a_readers_own(lively, attention=Ours)
    assert [row.way for row in engine.plan if row.what == "attention"] == ["sparse"]
    assert not {"matmul", "neuron"} & {row.what for row in engine.plan if row.layer != "traced_neuron"}


class Learned(SSA):
    """A reader's own, in which a parameter stands in the place of q, k or v."""

    def __init__(self, dim: int, num_heads: int, neuron: Any, *, bias: bool = False, place: str = "q"):
        super().__init__(dim, num_heads, neuron, bias=bias)
        self.place, self.learned = place, nn.Parameter(torch.ones(num_heads, 1, dim // num_heads))

    def attend(self, q, k, v, height, width):
        if self.place == "q":
            return (self.learned @ k.transpose(-2, -1) @ v).expand_as(v) * 0.25
        if self.place == "k":
            return q @ (self.learned.transpose(-2, -1) @ v[..., :1, :]) * 0.25
        return (q @ k[..., :1, :].transpose(-2, -1)) @ self.learned * 0.25


@pytest.mark.parametrize("place", ["q", "k", "v"])
def test_an_attention_with_a_learned_operand_is_left_to_torch(place, lively):
    engine = engine_of_a_readers_own(lively, attention=functools.partial(Learned, place=place))
    assert "matmul" in {row.what for row in engine.plan} and "attention" not in {row.what for row in engine.plan}


class WithTheWhole(MLP):
    """A reader's own: each token gets what a layer says of the whole map."""

    def forward(self, x):
        spikes = self.neuron(self.fc1(x))
        return self.fc2(spikes) + self.fc2(spikes[..., :1, :1])


@needs_kernels
def test_a_product_that_a_sum_broadcasts_is_no_residual(lively):
    engine_of_a_readers_own(lively, mlp=WithTheWhole)


class Real(SSA):
    """One whose values are numbers of any kind."""

    def attend(self, q, k, v, height, width):
        return torch.nn.functional.gelu(q.cumsum(-1)) * (k + 0.5).mean(-1, keepdim=True) + v


def test_experts_that_share_keys_are_left_to_torch(lively):
    x = torch.randn(4, 3, 16, 16)
    model = lively(build("spikformer", attention="SEMM"), x)
    torch.testing.assert_close(spike_engine(model, x)(x), model(x), rtol=1e-4, atol=1e-4)


def test_what_is_not_known_is_computed_by_torch_and_named(lively):
    torch.manual_seed(0)
    model = build("spikformer", attention=Real, depth=1)
    x = images(model)
    model = lively(model, x)
    engine = spike_engine(model, x)
    torch.testing.assert_close(engine(x), fold(model)(x), rtol=1e-3, atol=1e-3)
    assert {"gelu", "cumsum"} <= {row.what for row in engine.plan if row.way == "torch"}


@pytest.fixture
def no_kernels(monkeypatch):
    monkeypatch.setenv(OFF, "1")


def test_without_kernels_it_is_the_folded_model(small, no_kernels):
    x = images(small)
    engine = spike_engine(small, x, weights=torch.int8)
    assert torch.equal(engine.forward_features(x), small.forward_features(x))
    assert {row.way for row in engine.plan if row.what == "product"} == {"dense"}


def test_plan_says_what_each_step_does(small):
    engine = spike_engine(small, images(small))
    products = [row for row in engine.plan if row.what == "product"]
    assert all(0 <= row.density <= 1 for row in products)
    assert "blocks_0_attn_core_q" in [row.layer for row in products]
    assert 0.3 < sum(row.share for row in engine.plan) <= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda engine, x: engine(x[..., :8]), r"\[2, 3, 16, 8\] is not \['B', 3, 16, 16\]"),
        (lambda engine, x: engine(x[None]), r"is not \['B', 3, 16, 16\]"),
        (lambda engine, x: engine(x.byte()), r"torch.uint8 .* scaled like the training images"),
        (lambda engine, x: engine.save("engine.pt"), "engine.pt is no .safetensors file"),
    ],
)
def test_an_engine_says_what_it_does_not_take(small, small_engine, call, message):
    with pytest.raises(ValueError, match=message):
        call(small_engine, images(small))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, x: spike_engine(model, []), "there is no batch to plan the engine with"),
        (lambda model, x: spike_engine(model, x, weights=torch.float16), "give torch.float32 or torch.int8"),
        (lambda model, x: spike_engine(model, x[0]), r"a batch of shape \[3, 16, 16\] is not \[B, C, H, W\] or"),
        (lambda model, x: spike_engine(model, x[:0]), r"a batch of shape \[0, 3, 16, 16\] is not .* with an image"),
        (lambda model, x: spike_engine(model, [x, x[:0]]), r"a batch of shape \[0, 3, 16, 16\] is not"),
        (lambda model, x: spike_engine(model, [(x, None)]), "a batch is a tuple, not a tensor: give images alone"),
        (lambda model, x: load_engine("nothing.safetensors"), "nothing.safetensors"),
    ],
)
def test_says_what_it_does_not_take(small, call, message):
    with pytest.raises((ValueError, OSError), match=message):
        call(small, images(small))


@pytest.mark.parametrize(
    "broken",
    [{"processor": None}, {"ways": []}, {"ways": {"a": 1}}, {"images_at_once": "x"}, {"images_at_once": 0}],
)
def test_a_plan_that_was_changed_is_refused_or_passed_over(broken, tmp_path, small, small_engine):
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = small_engine.save(tmp_path / "engine.safetensors")
    with safe_open(path, "pt") as file:
        program = json.loads(file.metadata()["engine"])
        constants = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    program = {key: value for key, value in {**program, **broken}.items() if value is not None}
    save_file(constants, path, {"engine": json.dumps(program)})
    try:
        again = load_engine(path)
    except ValueError as error:
        assert str(error).startswith(f"{path} is not an engine's file")
    else:
        x = images(small)
        assert torch.allclose(again(x), small_engine(x), atol=1e-5)


def test_a_file_of_other_things_is_refused(tmp_path, small):
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="is not an engine's file"):
        load_engine(path)
    program = {"nodes": [["a", "os.system", ["ls"], {"kwargs": {}}, []]], "neurons": [], "ends": ["x", "a", "a"]}
    program |= {
        "shape": [1, 3, 4, 4],
        "dtype": "float32",
        "foreign": [],
        "ways": {},
        "processor": "",
        "images_at_once": 1,
    }
    save_file({"a": torch.zeros(1)}, path, {"engine": json.dumps(program)})
    with pytest.raises(ValueError, match=r"no operation 'os.system'"):
        load_engine(path)
    odd = [
        {**program, "nodes": [["a", "aten.relu.default", [{"ref": "x"}, {kind: "load"}], {"kwargs": {}}, []]]}
        for kind in ("dtype", "layout", "memory_format")
    ]
    for broken in ({}, {"nodes": 3}, {**program, "nodes": [], "dtype": "float16"}, *odd):
        save_file({"a": torch.zeros(1)}, path, {"engine": json.dumps(broken)})
        with pytest.raises(ValueError, match="is not an engine's file"):
            load_engine(path)
    path.write_bytes(b"not one either")
    with pytest.raises(ValueError, match="is not an engine's file"):
        load_engine(path)


@pytest.mark.parametrize(
    ("op", "args", "says"),
    [
        ("import_module.__call__.__call__", ["foreign"], "torch has no operation 'import_module.__call__.__call__': "),
        ("load_library.__func__.__call__", ["foreign.so"], "torch has no operation 'load_library.__func__.__call__': "),
        ("aten.__class__.mro", [], "torch has no operation 'aten.__class__.mro': import the package that has it, or"),
        ("aten.from_file.default", ["made", True, 4], "'aten.from_file.default' reads or writes files, which"),
        ("aten.save.default", [{"ref": "x"}, "made"], "'aten.save.default' reads or writes files, which"),
    ],
)
def test_a_file_runs_no_foreign_code_and_touches_no_other_file(op, args, says, tmp_path, monkeypatch):
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "foreign.py").write_text("open('made', 'w').close()")
    program = {"nodes": [["a", op, args, {"kwargs": {}}, [1, 2]]], "neurons": [], "ends": ["x", "a", "a"]}
    program |= {
        "shape": [1, 3, 4, 4],
        "dtype": "float32",
        "foreign": [],
        "ways": {},
        "processor": "",
        "images_at_once": 1,
    }
    save_file({"a": torch.zeros(1)}, "engine.safetensors", {"engine": json.dumps(program)})
    with pytest.raises(ValueError, match=re.escape(says)):
        load_engine("engine.safetensors")(torch.zeros(1, 3, 4, 4))
    assert not (tmp_path / "made").exists()


def test_torch_compile_passes(small):
    x = images(small)
    engine = spike_engine(small, x)
    assert torch.equal(torch.compile(engine, backend="aot_eager")(x), engine(x))
