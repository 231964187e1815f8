"""A profile: the same numbers however a model is run, in every form they come in."""

import csv
import gc
import io
import json
import time
from dataclasses import replace

import pytest
import torch
from tiny_models import FAMILIES, build
from torch import nn

import spikeformers as sf
from spikeformers.analysis import CONVENTIONS, Costs, anytime, profile
from spikeformers.analysis.energy import Convention
from spikeformers.ops.spike_attention import spike_attention


@pytest.fixture
def model(lively):
    made = build("spikformer")
    return lively(made, torch.randn(4, 3, 16, 16))


def counts(found):
    """All that is counted. Examples of real numbers are not: a batch of another size rounds otherwise."""

    def plain(side):
        return side and replace(side, example=None)

    return {
        (la.name, la.op): (la.hits, la.left_events, la.macs, plain(la.left), plain(la.right)) for la in found.layers
    }


@pytest.mark.parametrize("tiny", FAMILIES, indirect=True)
def test_counts_add_up_over_batches_of_any_size_and_order(tiny):
    model, x = tiny
    images = x.ndim == 4
    whole = profile(model, [x])
    parts = [x[2:], x[:2]] if images else [x[:, 2:], x[:, :2]]
    assert counts(profile(model, parts)) == counts(whole)
    assert [a.by_step.tolist() for a in profile(model, parts).activity] == [a.by_step.tolist() for a in whole.activity]
    assert len(whole.layers) > 20 and all(layer.hits <= layer.dense <= layer.macs for layer in whole.layers)


def test_counts_are_those_of_the_plain_model_however_it_runs(model):
    x = torch.randn(2, 3, 16, 16)
    plain = counts(profile(model, [x]))
    assert counts(profile(model, [x])) == plain  # a second time
    with torch.autocast("cpu", torch.bfloat16):
        assert counts(profile(model, [(x, torch.zeros(2))])) == plain
    assert counts(profile(sf.recompute_blocks(model).train(), [x])) == plain
    assert model.training
    model.eval()
    sf.compile(model, backend="eager")
    model(x)
    assert counts(profile(model, [x])) == plain
    assert counts(profile(torch.compile(model, backend="eager"), [x])) == plain
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_model_of_ours_inside_of_ones_own(model):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = model

        def forward(self, x):
            return self.inside(x).softmax(-1)

    x = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        found = counts(profile(Own(), [x.clone()]))
    plain = {(f"inside.{name}", op): numbers for (name, op), numbers in counts(profile(model, [x])).items()}
    softmax = ("compare1", "add1", "exp1", "sum1", "division1")
    assert {key: numbers for key, numbers in found.items() if key[0] not in softmax} == plain
    assert [found.keys() - plain.keys()] == [{key for key in found if key[0] in softmax}] and len(found) - len(
        plain
    ) == 5


def test_counting_changes_nothing(model):
    x = torch.randn(2, 3, 16, 16)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    before = model(x)
    model.train()
    profile(model, [x])
    model.eval()
    assert torch.equal(model(x), before)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_hooks_are_gone_after_an_error(model):
    for broken in (model.blocks[1].mlp.core.neuron, model.blocks[0].attn.core.proj):
        broken.forward = lambda x: x.nothing
        with pytest.raises(AttributeError):
            profile(model, [torch.randn(2, 3, 16, 16)])
        assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_an_image_is_seen_at_every_step(model):
    x = torch.randn(2, 3, 16, 16)
    found = profile(model, [x])
    first = next(layer for layer in found.layers if layer.role == "first")
    assert (first.name, first.left.kind, first.passes) == ("stem.stages.0.proj.conv", "real", 2)
    once = first.macs / 2 / 2  # samples, steps
    assert CONVENTIONS["spikingformer"].energy([first], 2).mac == 2 * once
    assert CONVENTIONS["sdt"].energy([first], 2).mac == 2 * once
    assert CONVENTIONS["spikformer"].energy([first], 2).mac == once
    assert CONVENTIONS["spikingresformer"].energy([first], 2).mac == 0


def test_published_energies():
    """Of Spikingformer-8-768, arXiv:2304.11954, and SpikingResformer-Ti, arXiv:2403.14302."""
    assert round(Costs().millijoules(12.514e9, 0.521e9), 2) == 13.66
    assert round(Costs().millijoules(2.73e9, 0), 2) == 2.46


def test_spikingformers_multiplications_are_the_stem_and_the_classifier():
    """The 0.521 G MAC of the paper need no firing rate: the first convolution four times, the classifier once."""
    model = sf.create_model("spikingformer_8_768", depth=1)
    mac = profile(model, [torch.randn(1, 3, 32, 32)]).total("spikingformer").mac
    stem, classifier = 4 * 27 * 96 * 32**2, 768 * 1000 + 1000
    assert mac == stem + classifier
    assert round((stem * 7**2 + classifier) / 1e9, 3) == 0.521  # 224 pixels are 7 times 32


def test_conventions_by_hand():
    """A layer of 10 inputs, 4 of them spikes of which one counts double, with a fan-out of 5 each."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.layer, self.after = (
                nn.Identity(),
                nn.Linear(10, 5, bias=False),
                nn.Linear(5, 1, bias=False),
            )
            self.before.levels = (0, 1)

        def forward(self, x):
            return self.after(self.layer(self.before(x)))

    x = torch.tensor([[1.0, 0, 1, 0, 2, 0, 1, 0, 0, 0]])
    layer = next(layer for layer in profile(Own(), [x]).layers if layer.name == "layer")
    found = {name: convention.count(layer) for name, convention in CONVENTIONS.items()}
    assert found == {
        "spikformer": (25, 0),
        "sdt": (20, 0),
        "spikingformer": (0, 50),
        "spikingresformer": (25, 0),
        "integer": (25, 0),
        "strict": (25, 0),
        "memory": (25, 0),
    }


class QKV(nn.Module):
    """Attention of the spikes that it is given, `[T, B, 3, N, D]`, one head."""

    def __init__(self):
        super().__init__()
        self.q_neuron, self.k_neuron, self.v_neuron, self.attn_neuron = (nn.Identity() for _ in range(4))
        for neuron in self.children():
            neuron.levels = (0, 1)

    def forward(self, x):
        q, k, v = (neuron(x[:, :, i].clone()) for i, neuron in enumerate((self.q_neuron, self.k_neuron, self.v_neuron)))
        return spike_attention(q, k, v, 1.0)


def spiking(T, B, N, D, counts):
    return torch.stack([(torch.arange(T * B * N * D) < count).float().view(T, B, N, D) for count in counts], 2)


@pytest.mark.parametrize(
    ("shape", "counts", "ac"), [((1, 1, 1, 2), (2, 2, 2), 8), ((4, 3, 16, 32), (2047, 1900, 2018), 42_101)]
)
def test_spikingformer_takes_queries_last_whatever_is_cheaper(shape, counts, ac):
    """The script's N d^2 (min(k, v) + q) a step, where (q k^T) v is computed: 4 and 20,896 by that order."""
    found = profile(QKV(), [spiking(*shape, counts)])
    assert [layer.sides for layer in found.layers if layer.op == "product"] == [("q", "k"), ("", "v")]
    assert round(found.total("spikingformer").ac) == ac
    assert found.total("spikingformer").mac == 0


def test_keys_are_binary_beside_neurons_that_emit_quarters():
    model, x = QKV(), spiking(4, 3, 16, 32, (2047, 1900, 2018))
    alone = profile(model, [x]).total("spikingformer")
    model.other = sf.neurons.IntegerHalfEven(max_count=4)
    assert profile(model, [x]).total("spikingformer") == alone


def test_spikingformer_takes_the_order_that_it_expects_as_it_is():
    T, B, N, D = 2, 1, 32, 4
    found = profile(QKV(), [spiking(T, B, N, D, (64, 32, 16))])
    assert [layer.sides for layer in found.layers if layer.op == "product"] == [("k", "v"), ("q", "")]
    assert found.total("spikingformer").ac == T * N * D**2 * (16 + 64) / (T * N * D)


@pytest.mark.parametrize(("bias", "extra"), [(False, 0), (True, 5)])
def test_spikingformer_counts_a_bias_at_the_rate_of_its_layer(bias, extra):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.neuron, self.conv = nn.Identity(), nn.Conv2d(8, 5, 1, bias=bias)
            self.neuron.levels = (0, 1)

        def forward(self, x):
            return self.conv(self.neuron(x))

    x = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0]).view(1, 8, 1, 1)  # a quarter
    assert profile(Own(), [x]).total("spikingformer").ac == (8 * 5 + extra) / 4


def test_counts_of_an_integer_neuron_are_spikes_of_substeps():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.neuron = sf.neurons.IntegerHalfEven(max_count=4)  # levels 0, 1/4, ..., 1
            self.fc = nn.Linear(4, 10, bias=False)
            self.head = nn.Linear(10, 2, bias=False)

        def forward(self, x):
            return self.head(self.fc(self.neuron(x)))

    x = torch.tensor([[[0.0, 1.0, 3.0, 4.0]]])
    layer = next(layer for layer in profile(Own(), [x]).layers if layer.name == "fc")
    assert (layer.left.kind, layer.left.unit, layer.left.most, layer.left.spikes) == ("integer", 0.25, 4, 8)
    assert CONVENTIONS["integer"].count(layer) == (80, 0)
    assert CONVENTIONS["spikformer"].count(layer) == (20, 0)  # by the mean value, 2 / 4
    assert CONVENTIONS["sdt"].count(layer) == (30, 0)
    assert CONVENTIONS["spikingformer"].count(layer) == (0, 40)
    assert CONVENTIONS["strict"].count(layer) == (80, 0)


def test_strict_counts_neurons_and_residual_adds(model):
    found = profile(model, [torch.randn(1, 3, 16, 16)])
    neurons = [layer for layer in found.layers if layer.op == "neuron"]
    assert CONVENTIONS["strict"].count(neurons[0]) == (neurons[0].left.nonzeros, neurons[0].left.elements)
    adds = [layer for layer in found.layers if layer.op == "add"]
    residual = [f"blocks.{i}.{part}.add1" for i in (0, 1) for part in ("attn", "mlp")]
    assert [add.name for add in adds] == ["position.add1", *residual]
    assert all(CONVENTIONS["strict"].count(add) == (add.hits, 0) for add in adds)
    assert CONVENTIONS["spikformer"].energy([*neurons, *adds], 1).millijoules == 0


def test_json_csv_and_layers_say_the_same(model):
    found = profile(model, [torch.randn(2, 3, 16, 16)], costs=Costs(mac=3.2, ac=0.1))
    says = json.loads(found.to_json())
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert len(rows) == len(says["layers"]) == len(found.layers)
    for name in CONVENTIONS:
        total = found.total(name)
        assert says["energy"][name] == {"ac": total.ac, "mac": total.mac, "millijoules": total.millijoules}
        assert sum(float(row[f"ac_{name}"]) for row in rows) == pytest.approx(total.ac)
        assert sum(energy.millijoules for _, energy in found.by_layer(name)) == pytest.approx(total.millijoules)
    total = found.total("strict")
    assert total.millijoules == pytest.approx((3.2 * total.mac + 0.1 * total.ac) * 1e-9)
    assert (says["samples"], says["steps"], says["model"]) == (2, 2, "spikformer_4_384_cifar10")


def test_a_convention_of_ones_own(model):
    every = Convention("every", "each layer is one", "-", lambda layer: (1, 0))
    found = profile(model, [torch.randn(1, 3, 16, 16)])
    assert found.total(every).ac == len(found.layers)


def test_refusals(model):
    with pytest.raises(ValueError, match="there are no batches to profile on: give at least one"):
        profile(model, [])
    with pytest.raises(ValueError, match="no energy convention 'papers': choose from spikformer, sdt"):
        profile(model, [torch.randn(1, 3, 16, 16)]).total("papers")
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"costs of {wrong} and 0.9 pJ are not both finite and 0 or more: give"):
            Costs(mac=wrong)
    x = torch.randn(2, 3, 16, 16)
    for count in (profile, anytime):
        with pytest.raises(ValueError, match=r"batches is a tensor of shape \[2, 3, 16, 16\]: give a list of batches"):
            count(model, x)


def test_memory_does_not_grow_with_the_number_of_batches(model):
    held = []

    def batches():
        for _ in range(4):
            gc.collect()
            held.append(sum(t.numel() for t in gc.get_objects() if type(t) in (torch.Tensor, nn.Parameter)))
            yield torch.randn(2, 3, 16, 16)

    profile(model, batches())
    assert max(held[2:]) == held[2]  # garbage of other tests may go meanwhile


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spikformer_4_384_cifar10", "qkformer_4_384_cifar10", "sdt_2_256_cifar10"])
def test_counting_takes_at_most_three_times_as_long(name, lively):
    x = torch.randn(8, 3, 32, 32)
    model = lively(sf.create_model(name), x)

    def seconds(run):
        times = []
        for _ in range(4):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return min(times)

    with torch.no_grad():
        assert seconds(lambda: profile(model, [x])) < 3 * seconds(lambda: model(x))


def test_neurons_that_run_step_by_step_count_every_step():
    """TIM calls two neurons one step at a time, all steps but the first."""
    tiny = dict(dim=16, depth=1, num_heads=2, image_size=16, time_steps=4, strides=(2, 2), num_classes=3)
    x = [torch.rand(2, 3, 16, 16)]
    plain, tim = (profile(sf.create_model("spikformer", **tiny, attention=name), x) for name in ("SSA", "TIM"))
    assert (plain.steps, tim.steps) == (4, 4)
    plain, again = ({layer.name: layer for layer in found.layers} for found in (plain, tim))
    in_both = sorted({*plain} & {*again})
    assert len(in_both) > 20
    for layer, same in ((plain[name], again[name]) for name in in_both):
        if layer.op != "product":  # what the queries remember changes what is hit
            assert (layer.passes, layer.macs) == (same.passes, same.macs), layer.name
    updates = [layer.macs for layer in tim.layers if layer.name.endswith(("past_neuron.update", "mix_neuron.update"))]
    assert updates == [3 * 2 * 4 * 4 * 16] * 2  # all steps but one, samples, tokens, channels


@pytest.mark.parametrize(("what", "times"), [("image", 1), ("an image at every step", 1), ("frames", 2)])
def test_real_frames_that_differ_are_convolved_at_every_step(model, what, times):
    """Frames of events are real where they were resized."""
    x = {
        "image": torch.rand(2, 3, 16, 16),
        "an image at every step": torch.rand(2, 3, 16, 16).expand(2, 2, 3, 16, 16),
        "frames": torch.rand(2, 2, 3, 16, 16),
    }[what]
    found = profile(model, [x])
    first = next(layer for layer in found.layers if layer.role == "first")
    once = first.macs / 2 / 2  # samples, steps
    for name in ("spikformer", "integer"):
        assert CONVENTIONS[name].energy([first], 2).mac == times * once
    assert CONVENTIONS["sdt"].energy([first], 2).mac == 2 * once


class Counts(nn.Module):
    """Integer neurons of several D, a linear layer for each: `[T, B, 8] -> [T, B, 1]`."""

    def __init__(self, *most):
        super().__init__()
        self.neurons = nn.ModuleList(sf.neurons.IntegerHalfEven(max_count=count) for count in most)
        self.layers = nn.ModuleList(nn.Linear(8, 1, bias=False) for _ in most)

    def forward(self, x):
        return sum(layer(neuron(x)) for neuron, layer in zip(self.neurons, self.layers, strict=True))


@pytest.mark.parametrize("most", [(3,), (3, 4), (3, 4, 5), (4, 2), (255, 2)])
def test_every_layer_counts_spikes_of_its_own_unit(most):
    x = max(most) * torch.rand(1, 50, 8)
    model = Counts(*most)
    found = [layer for layer in profile(model, [x]).layers if layer.op == "linear"]
    for neuron, layer, count in zip(model.neurons, found, most, strict=True):
        spikes = int((neuron(x) * count).round().sum())
        assert (layer.left.unit, layer.left.most, layer.left.spikes) == (1 / count, count, spikes)
        assert layer.left_events == spikes


def test_a_layer_that_reads_two_units_counts_in_one_that_divides_both():
    class Own(Counts):
        def forward(self, x):
            return sum(self.layers[0](neuron(x)) for neuron in self.neurons)

    x = torch.full((1, 1, 8), 2.0)  # two thirds and two quarters
    layer = next(layer for layer in profile(Own(3, 4), [x]).layers if layer.op == "linear")
    assert layer.left.unit == pytest.approx(1 / 12)
    assert (layer.left.most, layer.left.spikes, layer.left_events) == (8, 8 * (8 + 6), 8 * (8 + 6))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("most", [3, 4, 5, 7])
def test_spikes_of_any_precision_are_spikes(dtype, most):
    x = 8 * torch.rand(1, 40, 8)
    (layer,) = (la for la in profile(Counts(most).to(dtype), [x.to(dtype)]).layers if la.op == "linear")
    assert (layer.left.kind, layer.left.unit, layer.left.most) == ("integer", 1 / most, most)
    model = nn.Sequential(Counts(most), nn.Linear(1, 1)).to(dtype)  # the second layer reads real numbers
    assert [la.left.kind for la in profile(model, [x.to(dtype)]).layers if la.op == "linear"] == ["integer", "real"]


class Patches(nn.Module):
    """Embeds the patches of an image once, for all four steps, and reads out their mean: `[B, N, 12] -> [B, 3]`."""

    def __init__(self, every_step=False):
        super().__init__()
        self.embed, self.neuron, self.head = nn.Linear(12, 8), sf.neurons.LIF(), nn.Linear(8, 3)
        self.every_step = every_step

    def forward(self, x):
        x = x.expand(4, *x.shape) if self.every_step else x
        y = self.embed(x)  # B N C, or T B N C
        y = y if self.every_step else y.expand(4, *y.shape)
        return self.head(self.neuron(y)).mean((0, 2))


@pytest.mark.parametrize(("batch", "tokens"), [(2, 16), (1, 16), (3, 4), (4, 16)])
def test_tokens_are_no_steps(batch, tokens):
    x = torch.rand(batch, tokens, 12)
    for every_step, passes in ((False, 1), (True, 4)):
        found = profile(Patches(every_step), [x])
        layer = found.layers[0]
        assert (layer.name, layer.role, layer.passes) == ("embed", "first", passes)
        assert CONVENTIONS["spikformer"].energy([layer], batch).mac == tokens * 12 * 8
        assert next(layer for layer in found.layers if layer.name == "head").passes == 4


class Shared(nn.Module):
    """One neuron behind both of two layers: `[T, B, 8] -> [T, B, 8]`."""

    def __init__(self, width, neuron, by_step=False):
        super().__init__()
        self.up, self.down, self.neuron = nn.Linear(8, width), nn.Linear(width, 8), neuron
        self.by_step = by_step

    def forward(self, x):
        if self.by_step:
            return torch.cat([self.both(step[None]) for step in x])
        return self.both(x)

    def both(self, x):
        return self.neuron(self.down(self.neuron(self.up(x))))


def test_a_neuron_in_two_places_has_as_many_steps_as_the_model():
    x = torch.rand(4, 2, 8)
    found = profile(Shared(8, sf.neurons.LIF()), [x, x], samples=2)
    (activity,) = found.activity
    assert (found.steps, found.samples, activity.neurons, activity.samples) == (4, 4, 8, 8)
    assert {layer.passes for layer in found.layers if layer.op in ("linear", "neuron")} == {4}
    assert max(activity.rates) <= 1
    one_step = Shared(8, sf.neurons.LIF(), by_step=True)
    one_step.time_steps = 1
    assert profile(one_step, [x[:1]], samples=2).steps == 1


def test_inputs_of_two_sizes_and_a_neuron_of_two_widths_are_refused_in_one_line(model):
    said = r"stem\.stages\.0\.neuron is \d+ neurons in one call and \d+ in another: give inputs of one size"
    with pytest.raises(ValueError, match=said):
        profile(model, [torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 24)])
    with pytest.raises(ValueError, match=r"neuron is 5 neurons in one call and 8 in another: .* a neuron for each"):
        profile(Shared(5, sf.neurons.LIF()), [torch.rand(4, 2, 8)], samples=2)
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
    for broken in (model, Shared(5, sf.neurons.LIF())):
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in broken.modules())
