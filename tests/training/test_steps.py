"""What an update is: groups, accumulation, clipping, averaging, mixing, smoothing, schedules."""

import math
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch._dynamo.backends.debugging import aot_eager

import spikeformers as sf
from spikeformers.layers.time import time_first
from spikeformers.models.recompute import recomputed
from spikeformers.training import read_recipe
from spikeformers.training.health import Health
from spikeformers.training.mixup import Mixup
from spikeformers.training.module import TrainingModule
from spikeformers.training.optim import make_optimizer, make_schedule, tell_low_rate

# A model without norms and neurons, on which sums over a batch are exact enough to compare.
LINEAR = """
from torch import nn
from spikeformers.models import SpikingTransformer

class Stem(nn.Module):
    def __init__(self, in_channels):
        super().__init__()
        self.in_channels, self.stride = in_channels, 4
        self.conv = nn.Conv2d(in_channels, 4, 4, 4)

    def forward(self, x):
        return self.conv(x.flatten(0, 1)).unflatten(0, x.shape[:2])

class Head(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.linear = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.linear(x.mean((-2, -1)))

def linear(*, in_channels: int = 3, num_classes: int = 3, image_size: int = 16, time_steps: int = 1):
    return SpikingTransformer(
        stem=Stem(in_channels), blocks=[], head=Head(num_classes), time_steps=time_steps, image_size=image_size
    )
"""


@pytest.fixture
def linear(tmp_path):
    file = tmp_path / "linear.py"
    file.write_text(LINEAR)
    return f"{file}:linear"


@pytest.fixture
def train_linear(train, linear):
    """Trains the model without norms by plain SGD; gives its weights, before and after."""

    def train_linear(run="run", **changes):
        settings = {
            "model": linear,
            "optimizer": {"name": "sgd", "lr": 0.5, "weight_decay": 0.0, "args": {"momentum": 0.0, "nesterov": False}},
        }
        result = train(run, **{**settings, **changes}, **{"data.validation": 0, "seed": 3})
        torch.manual_seed(3)
        before = sf.create_model(linear, num_classes=3, in_channels=3).state_dict()
        return before, load_file(result.weights), result

    return train_linear


def distance(a, b):
    return math.sqrt(sum((a[key] - b[key]).square().sum().item() for key in a))


# ---- optimizers


def test_one_dimensional_parameters_do_not_decay():
    recipe = read_recipe("spikformer_cifar10")
    with torch.device("meta"):
        model = sf.create_model(**recipe.model, neuron=sf.neurons.PLIF)
    names = {id(p): name for name, p in model.named_parameters()}
    decays = {names[id(p)]: g["weight_decay"] for g in make_optimizer(recipe, model).param_groups for p in g["params"]}
    assert decays == {name: 0.0 if p.ndim <= 1 else 0.06 for name, p in model.named_parameters()}
    assert set(decays.values()) == {0.0, 0.06}


def test_the_arguments_of_an_optimizer_reach_it():
    recipe = read_recipe("digits", {"optimizer": {"name": "sgd", "args": {"momentum": 0.3}}})
    assert make_optimizer(recipe, nn.Linear(2, 2)).param_groups[0]["momentum"] == 0.3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizer.name": "adamww"}, r"timm has no optimizer\.name 'adamww': choose one of adamw, lamb, sgd"),
        (
            {"optimizer.name": "adahessian"},
            r"optimizer\.name adahessian needs second derivatives.*: choose one of adamw",
        ),
        ({"optimizer.args": {"beta": 1}}, r"optimizer\.args \{'beta': 1\} do not suit adamw"),
        ({"schedule.name": "cosin"}, r"schedule\.name 'cosin' is not one of cosine, tanh"),
        (
            {"epochs": 2, "schedule.warmup_epochs": 2},
            r"schedule\.warmup_epochs 2 is not below epochs 2: lower it, as in --schedule\.",
        ),
    ],
)
def test_an_optimizer_or_schedule_that_does_not_exist_is_refused(changes, said):
    recipe = read_recipe("digits", changes)
    with pytest.raises(ValueError, match=said):
        make_schedule(recipe, make_optimizer(recipe, nn.Linear(2, 2)), 1)


# ---- updates


def test_accumulated_batches_are_the_larger_batch(train_linear):
    before, whole, _ = train_linear("whole", batch_size=12)
    _, halves, _ = train_linear("halves", batch_size=6, accumulate=2)
    assert distance(before, whole) > 0.1
    assert distance(whole, halves) < 1e-5
    _, unlike, _ = train_linear("unlike", batch_size=6)
    assert distance(whole, unlike) > 0.01


def test_the_last_update_of_an_epoch_is_the_mean_of_its_steps(train_linear, monkeypatch):
    watched = []
    on_train_batch_end = Health.on_train_batch_end

    def watch(self, *given):
        on_train_batch_end(self, *given)
        watched.append(self.mean)

    monkeypatch.setattr(Health, "on_train_batch_end", watch)
    _, whole, _ = train_linear("whole", trainer={"limit_train_batches": 1})
    _, short, _ = train_linear("short", trainer={"limit_train_batches": 1}, accumulate=2)
    assert distance(whole, short) < 1e-6
    assert watched[0] == pytest.approx(watched[1])


def test_clipping_bounds_an_update(train_linear):
    one_update = {"trainer": {"limit_train_batches": 1}}
    before, after, _ = train_linear("clipped", clip_grad_norm=1e-3, **one_update)
    assert distance(before, after) == pytest.approx(0.5e-3, rel=1e-3)
    _, after, _ = train_linear("free", **one_update)
    assert distance(before, after) > 1e-2


def test_averaged_weights_are_what_is_evaluated_and_kept(train_linear, rows_of):
    changes = {"ema_decay": 0.75, "data.test_each_epoch": True, "batch_size": 6, "accumulate": 2}
    before, kept, result = train_linear(**changes, trainer={"limit_train_batches": 2})
    state = torch.load(result.run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for key, start in before.items():  # one update of two batches
        torch.testing.assert_close(kept[key], start.lerp(state[f"model.{key}"], 0.25))
        assert torch.equal(kept[key], state[f"ema.module.{key}"])
    (row,) = rows_of(result.run)
    assert float(row["test_loss"]) == pytest.approx(result.test.loss, rel=1e-4)


def test_an_average_that_warms_up_forgets_the_random_start(train_linear):
    share = {}  # of the way from the start to the last weights
    for warmup in (False, True):
        before, kept, result = train_linear(f"warmup-{warmup}", epochs=2, ema_decay=0.99, ema_warmup=warmup)
        last = torch.load(result.run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        key = max(before, key=lambda key: float((last[f"model.{key}"] - before[key]).norm()))
        way = last[f"model.{key}"] - before[key]
        share[warmup] = float(((kept[key] - before[key]) * way).sum() / way.square().sum())
    assert share[False] < 0.3 < 0.5 < share[True]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizer.lr": 2e-6}, ["2e-06 is below schedule.min_lr 1e-05: lower that, as in --schedule.min_lr 2e-08"]),
        (
            {"optimizer.lr": 2e-6, "schedule.min_lr": 0.0, "schedule.warmup_epochs": 1},
            ["below schedule.warmup_lr 0.0001"],
        ),
        ({"optimizer.lr": 2e-6, "schedule": {"name": "step", "decay_epochs": 1}}, []),
        ({"optimizer.lr": 2e-5, "optimizer.lr_batch": 1024}, ["below schedule.min_lr"]),
        ({"optimizer.lr": 2e-5}, []),
    ],
)
def test_a_rate_below_the_ends_of_its_schedule_is_told(changes, said, caplog):
    tell_low_rate(read_recipe("digits", {"schedule.warmup_epochs": 0, "batch_size": 64, **changes}))
    assert len(caplog.messages) == len(said)
    assert all(words in line for words, line in zip(said, caplog.messages, strict=True))


def test_a_schedule_by_update_ends_with_the_last_update(train_linear, rows_of):
    schedule = {"per_update": True, "warmup_epochs": 1, "warmup_lr": 0.0}
    _, _, result = train_linear(schedule=schedule, epochs=3, batch_size=6, accumulate=2)
    recipe = read_recipe(str(result.run / "settings.yaml"))
    optimizer = make_optimizer(recipe, nn.Linear(1, 1))
    expected, _ = make_schedule(recipe, optimizer, 5)  # 60 images: 10 batches, 5 updates
    lrs = []
    for update in (4, 9, 14):
        expected.step_update(update)
        lrs.append(optimizer.param_groups[0]["lr"])
    assert [float(row["lr"]) for row in rows_of(result.run)] == pytest.approx(lrs, rel=1e-3)
    assert lrs[2] < 0.02 < 0.3 < lrs[0]


def test_the_rate_in_the_table_is_the_one_trained_with(train_linear, rows_of):
    schedule = {"warmup_epochs": 2, "warmup_lr": 0.0, "min_lr": 0.0, "cooldown_epochs": 1}
    _, _, result = train_linear(schedule=schedule, epochs=4)
    assert [float(row["lr"]) for row in rows_of(result.run)] == pytest.approx([0, 0.25, 0.25, 0.0732, 0], abs=1e-4)


# ---- losses


class Fixed(nn.Module):
    """Logits that do not depend on the image."""

    num_classes, task = 4, "classification"

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([2.0, 0.0, -1.0, 0.5]))

    def forward(self, x):
        return self.logits.expand(x.shape[-4], 4)

    def forward_steps(self, x):
        return self(x)[None]


def loss_of(recipe, x, labels):
    return TrainingModule(recipe, Fixed(), {}).training_step((x, labels), 0).item()


def test_label_smoothing():
    p = torch.tensor([2.0, 0.0, -1.0, 0.5]).softmax(0).log().tolist()
    x, labels = torch.zeros(2, 1, 16, 16), torch.tensor([0, 2])
    assert loss_of(read_recipe("digits", {"label_smoothing": 0.0}), x, labels) == pytest.approx(-(p[0] + p[2]) / 2)
    smoothed = -0.9 * (p[0] + p[2]) / 2 - 0.1 * sum(p) / 4
    assert loss_of(read_recipe("digits", {"label_smoothing": 0.1}), x, labels) == pytest.approx(smoothed)


def test_mixed_labels_weigh_the_loss(monkeypatch):
    share = 0.3
    monkeypatch.setattr("timm.data.mixup.np.random.beta", lambda a, b: share)
    recipe = read_recipe("digits", {"augment.mixup": 0.5, "label_smoothing": 0.1})
    p = torch.tensor([2.0, 0.0, -1.0, 0.5]).softmax(0).log().tolist()
    x, labels = torch.zeros(2, 1, 16, 16), torch.tensor([0, 2])  # the first is mixed with the last
    both = (p[0] + p[2]) / 2
    assert loss_of(recipe, x, labels) == pytest.approx(-0.9 * both - 0.1 * sum(p) / 4)
    labels = torch.tensor([0, 0, 0, 2])
    first_and_last = share * p[0] + (1 - share) * p[2] + share * p[2] + (1 - share) * p[0]
    assert loss_of(recipe, torch.zeros(4, 1, 16, 16), labels) == pytest.approx(
        -0.9 * (first_and_last + 2 * p[0]) / 4 - 0.1 * sum(p) / 4
    )


def test_mixing_stops_at_its_epoch(train, monkeypatch):
    mixed = []
    mix = Mixup.__call__
    monkeypatch.setattr(Mixup, "__call__", lambda self, x, y: mixed.append(len(x)) or mix(self, x, y))
    train(augment={"mixup": 0.5, "mix_off_epoch": 2}, epochs=3)
    assert mixed == [12] * 8  # two epochs of four batches


def test_sequences_go_to_the_model_time_first():
    assert time_first(torch.zeros(2, 7, 3, 8, 8)).shape == (7, 2, 3, 8, 8)
    assert time_first(torch.zeros(2, 3, 8, 8)).shape == (2, 3, 8, 8)


# ---- randomness


def test_a_run_is_a_function_of_its_seed(train):
    changes = {"augment": {"hflip": 0.5, "mixup": 0.5, "erase": 0.5}, "model.drop_path": 0.5}
    weights = [load_file(train(run, seed=seed, **changes).weights) for run, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not torch.equal(weights[0]["head.linear.weight"], weights[2]["head.linear.weight"])


def test_lean_and_compiled_are_switches_of_a_recipe(monkeypatch):
    compiled = []
    monkeypatch.setattr("spikeformers.training.module.compile", compiled.append)
    recipe = read_recipe("digits", {"memory": "lean", "compile": True, "ema_decay": 0.9})
    model = sf.create_model(**recipe.model)
    module = TrainingModule(recipe, model, {})
    assert model.run is recomputed and compiled == [model]
    assert module.evaluated.run is not recomputed  # the average is never trained
    plain = TrainingModule(read_recipe("digits"), sf.create_model(**recipe.model), {})
    assert plain.model.run is not recomputed and compiled == [model]
    with pytest.raises(ValueError, match="memory must be one of 'plain', 'lean', not 'thin'"):
        read_recipe("digits", {"memory": "thin"})


def compiles():
    """Whether what torch.compile made is compiled at its call, as it is unless somebody turned that off."""
    torch._dynamo.reset()
    graphs = []
    torch.compile(torch.neg, backend=lambda graph, inputs: graphs.append(graph) or graph)(torch.ones(1))
    return bool(graphs)


def test_lean_and_compiled_train_together(train, monkeypatch):
    """Firing rates are measured uncompiled, and such blocks are recomputed uncompiled; other steps are compiled."""
    torch._dynamo.reset()  # code that earlier tests compiled too often is not compiled again
    trained = []

    def backend(graph, inputs):
        trained.append(any(x.requires_grad for x in inputs))
        return aot_eager(graph, inputs)

    monkeypatch.setattr("spikeformers.training.module.compile", partial(sf.compile, backend=backend))
    changes = {"optimizer": {"name": "sgd", "lr": 0.01}, "trainer": {"limit_train_batches": 2}, "data.validation": 0}
    plain, both = (
        load_file(train(run, memory=memory, compile=memory == "lean", **changes).weights)
        for run, memory in (("plain", "plain"), ("both", "lean"))
    )
    for name, weight in plain.items():
        torch.testing.assert_close(both[name], weight, rtol=1e-3, atol=1e-4)
    assert any(trained) and compiles()


def test_a_step_that_fails_leaves_compiling_on(train, monkeypatch):
    """The first step is measured, and so uncompiled; a notebook's next run is compiled again."""

    def too_much(self, batch, batch_idx):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("spikeformers.training.module.compile", lambda model: model)
    monkeypatch.setattr(TrainingModule, "training_step", too_much)
    with pytest.raises(ValueError, match="there is not enough memory"):
        train(compile=True)
    assert compiles()
