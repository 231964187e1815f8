"""The audit of anyone's model: each check finds a fault that was put there, at its place, and nothing else."""

import json

import pytest
import torch
from browser import in_browser, needs_a_browser, on_a_phone
from tiny_models import build
from torch import nn

from spikeformers.analysis import audit_model, profile
from spikeformers.analysis.model_audit.page import write_audit
from spikeformers.analysis.model_audit.result import CHECKS
from spikeformers.neurons import PSN
from spikeformers.neurons.batch_leaking_lif import BatchLeakingLIF

SIZE, STEPS = 8, 4


class Fires(torch.autograd.Function):
    """A step with a triangle for its gradient."""

    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return (v >= 0).to(v.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (v,) = ctx.saved_tensors
        return gradient * (1 - v.abs()).clamp_min(0)


class Membrane(nn.Module):
    """A neuron in plain PyTorch: `[T, B, ...] -> [T, B, ...]`."""

    def forward(self, x):
        v, spikes = torch.zeros_like(x[0], dtype=self.kept_in(x)), []
        for current in x:
            v = v + (current - v) / 2
            spikes.append(Fires.apply(v - 0.3).to(x.dtype))
            v = v * (1 - spikes[-1].detach())
        return torch.stack(spikes)

    def kept_in(self, x):
        return torch.promote_types(x.dtype, torch.float32)


class LowMembrane(Membrane):
    def kept_in(self, x):
        return x.dtype


class KeepsItsMembrane(Membrane):
    def __init__(self):
        super().__init__()
        self.v = None

    def forward(self, x):
        self.v = x[0] if self.v is None else self.v + x[0]
        return super().forward(torch.cat([self.v[None], x[1:]]))


class AlongTheBatch(Membrane):
    """The membrane runs from sample to sample."""

    def forward(self, x):
        return super().forward(x.transpose(0, 1)).transpose(0, 1)


class Net(nn.Module):
    """Two layers on `[T, B, C]` with a neuron between, and places to put a fault: `[B, K]` out."""

    def __init__(self, neuron=Membrane, before=None, between=None, classes=3):
        super().__init__()
        self.first, self.neuron, self.last = nn.Linear(SIZE, 16), neuron(), nn.Linear(16, classes)
        self.before, self.between = before or (lambda x: x), between or nn.Identity()

    def forward(self, x):
        return self.last(self.between(self.neuron(self.first(self.before(x))))).mean(0)


class Centred(nn.Module):
    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def forward(self, x):
        return x - x.mean(self.axis, keepdim=True)


class Softmax(nn.Module):
    def forward(self, x):
        return x.softmax(-1) * x


class Rooted(nn.Module):
    """The gradient of a root is not finite at 0."""

    def forward(self, x):
        return (x * 0).sqrt()


class Signed(nn.Module):
    def forward(self, x):
        return torch.sign(x)


class Detached(nn.Module):
    def forward(self, x):
        return x.detach()


class Cut(Net):
    def forward(self, x):
        return self.last(self.neuron(self.first(x)).detach()).mean(0)


class Idle(Net):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(2, 2)


class Noisy(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5, training=True)


class Counting(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


class Squeezed(Net):
    def forward(self, x):
        return super().forward(x[:, :, None].squeeze())


class BatchFirst(Net):
    """`[B, T, C]` in."""

    def forward(self, x):
        return super().forward(x.transpose(0, 1))


class StepByStep(nn.Module):
    """A neuron that keeps its membrane between steps, cleared at the first: `[T, B, C] -> [B, K]`."""

    def __init__(self, before=None, clears=True):
        super().__init__()
        self.first, self.fires, self.clears = nn.Linear(SIZE, 16), self.Neuron(), clears
        self.before = before or (lambda x: x)

    class Neuron(nn.Module):
        v = 0.0

        def forward(self, x):
            self.v = 0.5 * self.v + x
            spikes = Fires.apply(self.v - 0.5)
            self.v = self.v * (1 - spikes)
            return spikes

    def forward(self, x):
        if self.clears:
            self.fires.v = 0.0
        return sum(self.fires(self.first(step)) for step in self.before(x)) / len(x)


def steps(*shape):
    return torch.randn(STEPS, 3, *(shape or (SIZE,)), generator=torch.Generator().manual_seed(0))


def audited(model, x=None, **how):
    torch.manual_seed(0)
    return audit_model(model(), steps() if x is None else x, **{"layout": "TB", **how})


def findings(audit):
    return {check.name: [found.module for found in check.found] for check in audit.checks if check.found}


ITSELF = "the model itself"
FAULTS = [  # a model, and all that is wrong with it, each at its place
    ("nothing", Net, {}),
    ("nothing, B first", BatchFirst, {}),
    ("nothing, step by step", StepByStep, {}),
    ("the batch's mean", lambda: Net(before=lambda x: x - x.mean(1, keepdim=True)), {"batch leak": [ITSELF]}),
    ("the batch's mean in a module", lambda: Net(before=Centred(1)), {"batch leak": ["before"]}),
    ("a membrane along the batch", lambda: Net(AlongTheBatch), {"batch leak": ["neuron"]}),
    ("one sample alone fails", Squeezed, {"batch leak": [ITSELF]}),
    ("a membrane that stays", lambda: Net(KeepsItsMembrane), {"state leak": ["neuron"]}),
    ("a count of calls", lambda: Net(between=Counting()), {"state leak": ["between"]}),
    ("a membrane of steps that stays", lambda: StepByStep(clears=False), {"state leak": ["fires"]}),
    ("time's mean", lambda: Net(before=lambda x: x - x.mean(0)), {"time leak": [ITSELF]}),
    ("time's mean in a module", lambda: Net(before=Centred(0)), {"time leak": ["before"]}),
    ("time's mean, step by step", lambda: StepByStep(lambda x: x - x.mean(0)), {"time leak": [ITSELF]}),
    ("a parallel neuron", lambda: Net(lambda: PSN(time_steps=STEPS)), {"time leak": ["neuron"]}),
    ("random numbers", lambda: Net(before=Noisy()), {"determinism": ["before"], "spike-driven": ["before"]}),
    ("softmax", lambda: Net(between=Softmax()), {"spike-driven": ["between", "between"]}),
    ("no gradient", lambda: Net(between=Detached()), {"gradients": ["between"]}),
    ("no gradient, between modules", lambda: Cut(), {"gradients": [ITSELF]}),
    ("no gradient, before any parameter", lambda: Net(before=lambda x: x.detach()), {}),
    ("a module that nobody calls", Idle, {"gradients": ["spare"]}),
    ("a root at 0", lambda: Net(between=Rooted()), {"gradients": ["between"], "spike-driven": ["between"]}),
    ("a sign", lambda: Net(Signed), {"gradients": ["neuron"]}),
]  # fmt: skip


@pytest.mark.parametrize(("model", "wrong"), [(m, w) for _, m, w in FAULTS], ids=[name for name, *_ in FAULTS])
def test_finds_each_fault_at_its_place_and_nothing_else(model, wrong):
    x, layout = (steps().transpose(0, 1), "BT") if model is BatchFirst else (steps(), "TB")
    audit = audited(model, x, layout=layout)
    assert findings(audit) == wrong
    assert audit.clean == (not wrong)
    assert {check.status for check in audit.checks} <= {"clean", "finding"}
    assert all(found.number > 0 and found.says and found.kind for check in audit.checks for found in check.found)


def test_a_membrane_in_low_precision_flips_spikes():
    x = torch.randn(STEPS, 200, SIZE, generator=torch.Generator().manual_seed(0))
    assert findings(audited(Net, x)) == {}
    (found,) = audited(lambda: Net(LowMembrane), x)["autocast"].found
    assert found.module == "neuron" and 0.0005 < found.number < 0.02 and "bfloat16" in found.says


def test_faults_behind_one_another_are_all_found():
    """A difference is corrected where it begins, so that what comes after it is judged on its own."""

    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.nets = nn.Sequential(
                nn.Linear(SIZE, 16), AlongTheBatch(), nn.Linear(16, 16), Membrane(), Centred(1), nn.Linear(16, 16),
                KeepsItsMembrane(), nn.Linear(16, 16), AlongTheBatch(),
            )  # fmt: skip

        def forward(self, x):
            return self.nets(x)

    found = findings(audited(Deep, skip=("spike-driven", "gradients", "autocast")))
    assert found == {"batch leak": ["nets.1", "nets.4", "nets.8"], "state leak": ["nets.6"]}


def test_batch_norms_are_a_leak_in_training_and_where_they_have_no_statistics():
    def net(**how):
        return Net(neuron=lambda: nn.Sequential(Swapped(nn.BatchNorm1d(16, **how)), Membrane()))

    class Swapped(nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.norm = norm

        def forward(self, x):
            return self.norm(x.flatten(0, 1)).view_as(x)

    assert findings(audited(net)) == {}
    found = findings(audited(net, training=True))
    assert (found["batch leak"], found["time leak"]) == (["neuron.0.norm"], ["neuron.0.norm"])
    assert findings(audited(lambda: net(track_running_stats=False)))["batch leak"] == ["neuron.0.norm"]


def test_the_model_and_the_random_numbers_stay_as_they_were():
    torch.manual_seed(0)
    model, x = build("qkformer"), torch.randn(2, 3, 16, 16)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state, mode = torch.get_rng_state(), model.training
    audit_model(model, x)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and model.training is mode
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "silent", "places"),
    [
        ("qkformer", "blocks.2.attn.core.attn_neuron", ["blocks.2.attn.neuron"]),
        ("sglformer", "blocks.0.attn.core.attn_neuron", ["stem.stages.0.neuron", "blocks.1.attn.neuron"]),
    ],
)
def test_the_slip_of_released_code_is_found_though_its_neurons_are_silent(name, silent, places):
    torch.manual_seed(0)
    model, x = build(name), torch.randn(3, 3, 16, 16)
    skip = ("spike-driven", "gradients", "autocast")
    clean = audit_model(model, x, skip=skip)
    assert clean.clean and silent in clean.about["silent on these inputs"]
    for place in places:
        outer, _, own = place.rpartition(".")
        setattr(model.get_submodule(outer), own, BatchLeakingLIF())
    assert findings(audit_model(model, x, skip=skip)) == {"batch leak": places}


def test_neurons_that_keep_their_state_by_design_are_told_so_and_can_be_reset():
    from spikingjelly.activation_based import neuron

    def net():
        return Net(lambda: neuron.LIFNode(step_mode="m"))

    x = torch.randn(STEPS, 100, SIZE, generator=torch.Generator().manual_seed(0))
    audit = audited(net, x)
    assert findings(audit) == {"state leak": ["neuron"], "autocast": ["neuron"]}
    assert "audit with reset" in audit["state leak"].note
    assert findings(audited(net, x, reset=True, skip=("autocast",))) == {}


class OfSnnTorch(nn.Module):
    """Step by step: one neuron keeps its membrane, the other has it passed in."""

    def __init__(self):
        super().__init__()
        snn = pytest.importorskip("snntorch")
        self.first, self.hidden = nn.Linear(SIZE, 16), snn.Leaky(beta=0.5, init_hidden=True)
        self.last, self.out = nn.Linear(16, 3), snn.Leaky(beta=0.5)

    def forward(self, x):
        membrane, spikes = self.out.reset_mem(), []
        for step in x:
            fired, membrane = self.out(self.last(self.hidden(self.first(step))), membrane)
            spikes.append(fired)
        return torch.stack(spikes)


class OfNorse(nn.Module):
    """All steps at once, then an integrator, which is no neuron, step by step."""

    def __init__(self):
        super().__init__()
        norse = pytest.importorskip("norse.torch")
        self.first, self.fires = nn.Linear(SIZE, 16), norse.LIF()
        self.last, self.out = nn.Linear(16, 3), norse.LICell()

    def forward(self, x):
        currents, state = self.last(self.fires(5 * self.first(x))[0]), None
        for current in currents:
            voltage, state = self.out(current, state)
        return voltage


def test_neurons_of_snntorch():
    kept = audited(OfSnnTorch)
    assert findings(kept) == {"state leak": ["hidden"]} and kept.about["neuron layers"] == "2"
    assert findings(audited(OfSnnTorch, reset=True)) == {}
    neurons = [layer for layer in profile(OfSnnTorch(), [steps()], samples=3).layers if layer.op == "neuron"]
    assert [(n.name, n.passes, n.multiplications) for n in neurons] == [
        ("hidden.update", STEPS, 1), ("out.update", STEPS, 1)
    ]  # fmt: skip


def test_neurons_of_norse():
    other = audited(OfNorse)
    assert findings(other) == {} and other.about["neuron layers"] == "1"


def test_layouts_and_steps():
    class Repeats(Net):
        def forward(self, x):
            return super().forward(x.expand(STEPS, *x.shape))

    images = torch.randn(3, SIZE)
    clean = audited(Repeats, images, layout="B")
    assert clean.clean and clean["time leak"].status == "not checked" and "--steps" in clean["time leak"].note
    assert audited(Repeats, images, layout="B", steps=STEPS)["time leak"].status == "clean"
    assert findings(audited(lambda: Repeats(Ahead), images, layout="B", steps=STEPS)) == {"time leak": ["neuron"]}
    x = steps().transpose(0, 1)
    assert findings(audited(lambda: BatchFirst(before=Centred(1)), x, layout="BT")) == {"batch leak": ["before"]}
    assert findings(audited(lambda: BatchFirst(Ahead), x, layout="BT")) == {"time leak": ["neuron"]}


class Ahead(Membrane):
    def forward(self, x):
        return super().forward(x.roll(-1, 0))


def test_whole_numbers_as_inputs():
    class Embedded(Net):
        def __init__(self, **how):
            super().__init__(**how)
            self.words = nn.Embedding(10, SIZE)

        def forward(self, x):
            return super().forward(self.words(x).transpose(0, 1))

    words = torch.randint(10, (3, STEPS), generator=torch.Generator().manual_seed(0))
    clean = audited(Embedded, words, layout="B", steps=STEPS)
    assert clean.clean and clean.about["run in"] == "float64, eval mode"
    assert findings(audited(lambda: Embedded(before=Centred(1)), words, layout="B"))["batch leak"] == ["before"]


def test_mistakes():
    model = Net()
    with pytest.raises(ValueError, match="no check 'leak': choose from batch leak"):
        audit_model(model, steps(), layout="TB", skip=["leak"])
    with pytest.raises(ValueError, match="no layout 'BTC': choose from B, TB, BT"):
        audit_model(model, steps(), layout="BTC")
    with pytest.raises(ValueError, match=r"shape \[4, 1, 8\] in layout TB hold no two samples"):
        audit_model(model, steps()[:, :1], layout="TB")
    with pytest.raises(ValueError, match=r"does not run on inputs of shape \[4, 3, 7\]: RuntimeError.*\(in first\)"):
        audit_model(model, steps(7), layout="TB")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit") / "out"
    audit = audited(lambda: Net(AlongTheBatch, between=Softmax()), name="A <tiny> net")
    write_audit(audit, folder)
    return audit, folder


def test_the_page_and_the_numbers_say_what_was_found(written):
    audit, folder = written
    page, numbers = ((folder / name).read_text() for name in ("index.html", "audit.json"))
    says = json.loads(numbers)
    assert says == json.loads(json.dumps(audit.describe())) and says["clean"] is False
    assert [check["check"] for check in says["checks"]] == [*CHECKS]
    assert "A &lt;tiny&gt; net" in page and "2 of 7 checks have findings" in page
    for found in (one for check in audit.checks for one in check.found):
        assert found.module in page.replace("<wbr>", "") and found.kind in page
    (folder.parent / "mine").mkdir()
    (folder.parent / "mine" / "thesis.txt").touch()
    with pytest.raises(ValueError, match="has files but no audit: choose another folder"):
        write_audit(audit, folder.parent / "mine")
    write_audit(audit, folder)


@needs_a_browser
@pytest.mark.parametrize("look", [lambda *at: in_browser(*at, 1200), on_a_phone], ids=["desktop", "phone"])
def test_the_page_fits_its_window(written, tmp_path, look):
    told = look(written[1] / "index.html", tmp_path)
    assert (told["told"], told["outside"], told["cut"], told["scrolls"]) == ([], [], 0, 0)
    assert told["scroll"] <= told["width"]
