"""Losses against their formulas, teachers, firing rates, starting weights, layer decay, rates by batch, repeats."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from tiny_dense import MODELS
from tiny_models import build
from torch import nn
from torch.nn.functional import cross_entropy, softmax

import spikeformers as sf
from spikeformers.analysis import FiringRates
from spikeformers.checkpoints import read_checkpoint
from spikeformers.checkpoints.save import save_pretrained
from spikeformers.data import Augmented, EpochSampler
from spikeformers.models import recompute_blocks
from spikeformers.training import module as module_file
from spikeformers.training import read_recipe
from spikeformers.training.losses import (
    FiringPenalty,
    Objective,
    Reconstruction,
    hard_distillation,
    mean_over_steps,
    soft_distillation,
    tet,
)
from spikeformers.training.optim import find_layers, learning_rate, make_optimizer, make_schedule, rate_of
from spikeformers.training.prepare import prepare
from spikeformers.training.start import start_from
from spikeformers.training.teacher import Teacher, load_teacher

STEPS = torch.tensor([[[2.0, 0.0, -1.0], [0.5, 0.5, 0.0]], [[0.0, 1.0, 1.0], [3.0, -2.0, 0.0]]])  # T B K
LABELS = torch.tensor([0, 2])


# ---- formulas


def test_the_mean_over_steps():
    p = softmax(STEPS.mean(0), -1)
    assert mean_over_steps(STEPS, LABELS) == pytest.approx(-(p[0, 0].log() + p[1, 2].log()).item() / 2)


def test_tet_holds_every_step_against_the_labels():
    each = [-softmax(logits, -1)[[0, 1], LABELS].log().mean() for logits in STEPS]
    expected = sum(each).item() / 2
    assert tet(STEPS, LABELS) == pytest.approx(expected)
    assert tet(STEPS, LABELS) > mean_over_steps(STEPS, LABELS)  # Jensen
    drawn = ((STEPS - 1.5) ** 2).mean().item()
    assert tet(STEPS, LABELS, target=1.5, weight=0.2) == pytest.approx(0.8 * expected + 0.2 * drawn)


def test_smoothed_and_mixed_targets_are_the_same_to_tet():
    smooth = torch.full((2, 3), 0.1 / 3)
    smooth[[0, 1], LABELS] += 0.9
    assert tet(STEPS, smooth) == pytest.approx(tet(STEPS, LABELS, label_smoothing=0.1).item())


def test_distillation():
    ours, theirs = STEPS[0], STEPS[1]
    assert hard_distillation(ours, theirs) == cross_entropy(ours, torch.tensor([1, 0]))
    p, q = softmax(theirs / 2, -1), softmax(ours / 2, -1)
    divergence = (p * (p / q).log()).sum(-1).mean().item() * 4
    assert soft_distillation(ours, theirs, temperature=2) == pytest.approx(divergence)
    assert soft_distillation(ours, ours, temperature=3) == pytest.approx(0, abs=1e-6)


# ---- the objective


class Answers(nn.Module):
    """Says the same of every image."""

    num_classes = 3

    def __init__(self, *logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x):
        self.seen = x
        return self.logits.expand(len(x), 3)


def test_the_second_head_learns_from_the_teacher():
    student = build("sdt_v2_kd", num_classes=3).train()
    teacher = Teacher(Answers(0.0, 1.0, 3.0), torch.ones(1), torch.zeros(1))
    recipe = read_recipe("digits", {"distill": {"teacher": "named", "weight": 0.25}, "label_smoothing": 0.0})
    x, labels = torch.randn(2, 3, 64, 64), torch.tensor([0, 1])
    loss, logits = Objective(recipe, student, teacher)(student, x, labels)
    by_labels, by_teacher = student.forward_heads(x)
    expected = 0.75 * cross_entropy(by_labels.mean(0), labels)
    expected += 0.25 * cross_entropy(by_teacher.mean(0), torch.tensor([2, 2]))
    assert loss.item() == pytest.approx(expected.item())
    torch.testing.assert_close(logits, student(x))
    loss.backward()
    assert teacher.model.logits.grad is None and student.head.linear_kd.weight.grad is not None


def test_one_head_learns_from_both():
    student = build("spikformer", num_classes=3).train()
    teacher = Teacher(Answers(0.0, 1.0, 3.0), torch.ones(1), torch.zeros(1))
    recipe = read_recipe("digits", {"distill": {"teacher": "named", "name": "soft", "temperature": 2.0}})
    x, labels = torch.randn(2, 3, 16, 16), torch.tensor([0, 1])
    loss, logits = Objective(recipe, student, teacher)(student, x, labels)
    expected = cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing) / 2
    expected += soft_distillation(logits, teacher(x), temperature=2) / 2
    assert loss.item() == pytest.approx(expected.item())


def test_a_teacher_sees_images_as_it_was_trained_on_them(tmp_path):
    teacher = build("spikformer", num_classes=3)
    save_pretrained(teacher, tmp_path, preprocess={"image_size": 16, "mean": [0.5, 0.4, 0.3], "std": [0.1, 0.2, 0.4]})
    loaded = load_teacher(str(tmp_path), 3, ([0.1, 0.2, 0.3], [0.2, 0.2, 0.2]))
    loaded.model = Answers(0.0, 0.0, 0.0)
    pixels = torch.rand(2, 3, 4, 4)
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor(0.2)
    loaded((pixels - mean) / std)
    theirs = (pixels - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.1, 0.2, 0.4]).view(3, 1, 1)
    torch.testing.assert_close(loaded.model.seen, theirs)
    with pytest.raises(ValueError, match="has 3 classes, but the model has 10"):
        load_teacher(str(tmp_path), 10)


def test_a_teacher_has_the_students_classes_in_their_order(tmp_path):
    save_pretrained(build("spikformer", num_classes=3), tmp_path, classes=["ant", "bee", "cat"])
    load_teacher(str(tmp_path), 3, classes=["ant", "bee", "cat"])
    with pytest.raises(ValueError, match="has the class 'bee' where the data have 'cat': give a teacher of the same"):
        load_teacher(str(tmp_path), 3, classes=["ant", "cat", "bee"])


def test_weights_of_the_package_teach_by_name():
    teacher = load_teacher("cifar10_evening", 10, ([0.5] * 3, [0.5] * 3))
    assert teacher.model.num_classes == 10 and teacher.shift.any()  # the images' normalisation is another


def test_teachers_of_timm_by_name(monkeypatch):
    with pytest.raises(ValueError, match="'caformer_b66' is neither a file nor a model of timm"):
        load_teacher("caformer_b66", 3)

    def no_network(*_, **__):
        raise OSError("cannot connect\nat all")

    monkeypatch.setattr("timm.create_model", no_network)
    with pytest.raises(ValueError, match=r"no weights to download \(cannot connect\); give a checkpoint"):
        load_teacher("caformer_b36.sail_in22k_ft_in1k", 3)


def test_a_teacher_takes_the_normalisation_of_the_run(recipe_file, finished):
    theirs = read_checkpoint(finished.run).settings["preprocess"]
    ours = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    recipe = read_recipe(recipe_file, {"data": ours, "distill.teacher": str(finished.run)})
    teacher = prepare(recipe).module.objective.teacher
    assert teacher is not None
    mean, std, their_mean, their_std = map(torch.tensor, (ours["mean"], ours["std"], theirs["mean"], theirs["std"]))
    torch.testing.assert_close(teacher.scale.flatten(), std / their_std)
    torch.testing.assert_close(teacher.shift.flatten(), (mean - their_mean) / their_std)


def test_a_run_with_a_teacher(train, finished, rows_of):
    loss = {"name": "tet", "tet_weight": 0.1}
    alone, run = (
        train(name, loss=loss, distill=distill).run
        for name, distill in (("alone", {}), ("run", {"teacher": str(finished.run), "name": "soft"}))
    )
    assert not any("teacher" in key for key in load_file(run / "weights.safetensors"))
    assert rows_of(run)[0]["loss"] != rows_of(alone)[0]["loss"]


# ---- firing rates


@pytest.mark.parametrize("neuron", ["LIF", "TernaryLIF"])
def test_the_penalty_is_the_squared_distance_of_rates(lively, neuron):
    model = build("spikformer", neuron=neuron)
    x = torch.randn(2, 3, 16, 16)
    lively(model, x)
    with FiringRates(model) as rates, FiringPenalty(model, 0.1, 3.0) as penalty:
        model(x)
    expected = sum((rate - 0.1) ** 2 for rate in rates.by_neuron().values()) / len(rates.by_neuron())
    assert penalty().item() == pytest.approx(3 * expected, rel=1e-5)
    penalty().backward()
    assert model.stem.stages[0].proj.norm.bias.grad.abs().sum() > 0


def test_recomputed_blocks_fire_as_often_as_others(train, rows_of):
    plain, lean = (rows_of(train(memory, epochs=1, memory=memory).run)[0] for memory in ("plain", "lean"))
    fired = {key: value for key, value in plain.items() if key.startswith("firing/")}
    assert len(fired) > 2 and fired == {key: lean[key] for key in fired}


@pytest.mark.parametrize("neuron", ["LIF", "TernaryLIF", "TernaryIF"])
def test_a_penalty_reaches_recomputed_blocks(neuron):
    """Its gradients are those of blocks that keep what they compute."""
    x, grads = torch.randn(2, 3, 16, 16), []
    for wrap in (nn.Identity(), recompute_blocks):
        torch.manual_seed(0)
        model = wrap(build("spikformer", neuron=neuron)).train()
        penalty = FiringPenalty(model, 0.1, 3.0)
        for _ in range(2):
            model.zero_grad()
            with penalty:
                steps = model.forward_steps(x)
            (steps.square().mean() + penalty()).backward()
            before = penalty()
            copy.deepcopy(model).eval()(x)  # outside, it reads nothing
            assert penalty() == before
        grads.append([parameter.grad for parameter in model.parameters()])
    for plain, lean in zip(*grads, strict=True):
        torch.testing.assert_close(lean, plain, rtol=1e-4, atol=1e-6)


def test_a_penalty_makes_neurons_quieter(train, rows_of):
    def rates(run, weight):
        loss = {"firing_weight": weight}
        rows = rows_of(train(run, epochs=3, loss=loss, memory="lean").run)  # the harder way
        return [float(value) for key, value in rows[-1].items() if key.startswith("firing/")]

    assert sum(rates("quiet", 30.0)) < 0.7 * sum(rates("loud", 0.0))


# ---- where a run starts


def test_more_steps_larger_images_and_other_classes_start_from_a_run(tmp_path, caplog):
    first = build("spikformer", time_steps=1)
    save_pretrained(first, tmp_path)
    model = start_from(build("spikformer", time_steps=4, image_size=32, num_classes=7), str(tmp_path))
    assert all(torch.equal(p, model.state_dict()[k]) for k, p in first.state_dict().items() if "head" not in k)
    assert "has 10 classes: a new head for 7" in caplog.text
    with pytest.raises(
        ValueError, match=r"does not fit spikformer_4_384_cifar10: \d+ of another shape .* and \d+ more"
    ):
        start_from(build("spikformer", dim=64), str(tmp_path))


def test_a_second_head_starts_new(tmp_path):
    first = build("sdt_v2")
    save_pretrained(first, tmp_path)
    model = start_from(build("sdt_v2_kd", time_steps=4), str(tmp_path))
    assert torch.equal(model.head.linear.weight, first.head.linear.weight)


def test_a_recipe_that_starts_from_weights_needs_them(train, finished):
    with pytest.raises(ValueError, match=r"run starts from those of T = 1: .* with --start_from"):
        train(start_needed="those of T = 1")
    changes = {"start_needed": "those of T = 1", "start_from": str(finished.run), "optimizer": {"lr": 1e-9}}
    weights = load_file(train(**changes, schedule={"min_lr": 0.0}).weights)
    for key, value in load_file(finished.weights).items():
        if key.endswith("conv.weight"):
            torch.testing.assert_close(weights[key], value, atol=1e-6, rtol=0)


def test_a_teacher_of_another_size_is_refused_before_the_run(train, monkeypatch, tmp_path):
    class Fixed(nn.Module):
        def forward(self, x):
            raise AssertionError("Input height (16) doesn't match\nmodel (224).")

    monkeypatch.setattr(module_file, "load_teacher", lambda *_: Teacher(Fixed(), torch.ones(1), torch.zeros(1)))
    said = r"distill\.teacher vit cannot take images of \[3, 16, 16\] \(AssertionError: Input height .* model \(224\)"
    with pytest.raises(ValueError, match=said):
        train(distill={"teacher": "vit"})
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_finds_boxes_is_refused_before_the_run(train, tmp_path):
    detector = sf.create_model(**MODELS["boxed"], num_classes=3)
    save_pretrained(detector, tmp_path / "detector", preprocess={"image_size": [32, 48]})
    with pytest.raises(ValueError, match=r"distill\.teacher .*/detector does not classify images: give a classifier"):
        train(**{"distill.teacher": str(tmp_path / "detector"), "model.image_size": 32})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("changes", [{"loss.name": "tet"}, {"loss.firing_weight": 1.0}, {"label_smoothing": 0.1}])
def test_what_a_masked_autoencoder_cannot_use_is_refused(changes):
    recipe = read_recipe("sdt_v3_large_pretrain", changes)
    with pytest.raises(
        ValueError, match=f"{next(iter(changes))}.* does not apply to a masked autoencoder: leave it out"
    ):
        Reconstruction(recipe, None)


# ---- rates and groups

BY_EPOCH = {"warmup_epochs": 0, "per_update": False}


def test_layers_decay_from_the_head_down():
    model = build("sdt_v3_large")  # seven blocks up to the last stage, then two
    layers = find_layers(model)
    assert {layer for name, layer in layers.items() if not name.startswith(("blocks.7.", "blocks.8.", "head."))} == {0}
    assert layers["blocks.7.mlp.core.scale"] == 1 and layers["blocks.8.mlp.core.scale"] == 2
    assert layers["head.linear.weight"] == 3
    recipe = read_recipe("digits", {"optimizer.layer_decay": 0.75, "schedule": BY_EPOCH})
    optimizer = make_optimizer(recipe, model)
    make_schedule(recipe, optimizer, 1)[0].step(0)
    names = {id(p): name for name, p in model.named_parameters()}
    for group in optimizer.param_groups:
        for p in group["params"]:
            assert group["lr"] == pytest.approx(recipe.optimizer.lr * 0.75 ** (3 - layers[names[id(p)]]))
            assert group["weight_decay"] == (0.05 if p.ndim > 1 else 0)
    flat = find_layers(build("spikformer"))
    assert {flat["stem.stages.0.proj.conv.weight"], flat["position.core.proj.conv.weight"]} == {0}
    assert (flat["blocks.0.attn.core.q.conv.weight"], flat["head.linear.bias"]) == (1, 3)


def test_the_rate_that_is_told_is_that_of_the_head():
    recipe = read_recipe("digits", {"optimizer.layer_decay": 0.5, "schedule": BY_EPOCH})
    optimizer = make_optimizer(recipe, build("spikformer"))
    make_schedule(recipe, optimizer, 1)[0].step(0)
    assert rate_of(optimizer) == pytest.approx(recipe.optimizer.lr)
    assert min(group["lr"] for group in optimizer.param_groups) < recipe.optimizer.lr / 2


def test_biases_do_not_decay_whatever_their_shape():
    model = build("spikformer", neuron="PSN")
    names = {id(p): name for name, p in model.named_parameters()}
    optimizer = make_optimizer(read_recipe("digits"), model)
    decays = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {decay for name, decay in decays.items() if name.endswith("bias")} == {0.0}
    assert {decay for name, decay in decays.items() if "neuron.weight" in name} == {0.05}


def test_the_average_of_a_rate_begins_with_its_first_value():
    """DSSA's rates begin with the first batch, not with 0."""
    module = module_file.TrainingModule(read_recipe("digits", {"ema_decay": 0.9}), build("spikingresformer"), {})
    for k in (1.0, 2.0):
        for name, buffer in module.model.named_buffers():
            if name.endswith("_rate"):
                buffer.fill_(0.1 * k)
        module_file._begin_rates(module.ema.module, module.model, module.with_rates)
        module.ema.update(module.model)
    averages = [buffer for name, buffer in module.ema.module.named_buffers() if name.endswith("_rate")]
    assert averages
    for average in averages:
        torch.testing.assert_close(average, torch.full_like(average, 0.1 * 0.9 + 0.2 * 0.1))


def test_the_published_levels_of_v3_large():
    with torch.device("meta"):
        layers = find_layers(sf.create_model("sdt_v3_83m_kd"))
    assert layers["head.linear_kd.weight"] == 13 and layers["stem.proj.conv.weight"] == 0
    assert [layers[f"blocks.{7 + i}.attn.core.scale"] for i in range(12)] == [*range(1, 13)]


def test_a_rate_in_proportion_to_the_batch():
    recipe = read_recipe("digits", {"optimizer": {"lr": 6e-4, "lr_batch": 256}, "batch_size": 128, "accumulate": 2})
    assert learning_rate(recipe, processes=8) == pytest.approx(6e-4 * 128 * 2 * 8 / 256)
    assert make_optimizer(recipe, nn.Linear(1, 1), 8).param_groups[0]["lr"] == learning_rate(recipe, 8)
    assert learning_rate(read_recipe("digits"), 8) == read_recipe("digits").optimizer.lr


def test_all_parameters_decay_where_a_recipe_says_so():
    recipe = read_recipe("digits", {"optimizer.decay_all": True})
    assert {g["weight_decay"] for g in make_optimizer(recipe, nn.Linear(1, 1)).param_groups} == {0.05}


def test_a_curve_behind_the_warm_up():
    curve = {"warmup_epochs": 10, "warmup_lr": 0.0, "min_lr": 0.0, "after_warmup": True}
    recipe = read_recipe("digits", {"schedule": {**BY_EPOCH, **curve}, "epochs": 110})
    optimizer = make_optimizer(recipe, nn.Linear(1, 1))
    schedule, epochs = make_schedule(recipe, optimizer, 1)
    assert epochs == 110
    rates = []
    for epoch in (5, 10, 60, 109):
        schedule.step(epoch)
        rates.append(optimizer.param_groups[0]["lr"] / recipe.optimizer.lr)
    assert rates == pytest.approx([0.5, 1, 0.5, 0.5 * (1 + torch.tensor(0.99 * torch.pi).cos().item())], abs=1e-6)


# ---- repeated augmentation


def test_an_image_is_shown_three_times_and_differently():
    def shares(ranks):
        return [[*EpochSampler(range(12), num_replicas=ranks, rank=r, seed=1, repeats=3)] for r in range(ranks)]

    (whole,) = shares(1)
    assert len(whole) == 12 and len({index for _, index, _ in whole}) == 4
    assert [copy for *_, copy in whole] == [0, 1, 2] * 4
    assert shares(2) == [whole[::2], whole[1::2]]
    noisy = Augmented([(0.0, 1)] * 12, lambda zero: zero + torch.rand(()), seed=0)
    values = [noisy[item][0].item() for item in whole]
    assert len(set(values)) == 12 and values == [noisy[item][0].item() for item in whole]


def test_repeats_in_order():
    samples = [*EpochSampler(range(4), num_replicas=1, rank=0, seed=1, repeats=2, shuffle=False)]
    assert [index for _, index, _ in samples][:4] == [0, 0, 1, 1]


def test_a_run_with_repeats(train):
    assert train(augment={"repeats": 3, "hflip": 0.5}).test.images == 12


# ---- refusals


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"distill.weight": 2}, r"distill\.weight 2\.0 is not in \[0, 1\]"),
        ({"distill.temperature": 0}, r"distill\.temperature 0\.0 is not above 0"),
        ({"loss.tet_weight": -1}, r"loss\.tet_weight -1\.0 is not in"),
        ({"loss.firing_weight": -1}, r"loss\.firing_weight -1\.0 is below 0"),
        ({"loss.firing_weight": 1, "compile": True}, r"loss\.firing_weight and compile cannot be combined"),
        ({"loss.name": "ted"}, r"loss\.name must be one of 'mean', 'tet', not 'ted'"),
        ({"optimizer.lr_batch": 0}, r"optimizer\.lr_batch 0 is below 1"),
        ({"optimizer.layer_decay": 1.5}, r"optimizer\.layer_decay 1\.5 is not in \(0, 1\]"),
        ({"augment.repeats": 0}, r"augment\.repeats 0 is below 1"),
    ],
)
def test_settings_that_do_not_fit(changes, said):
    with pytest.raises(ValueError, match=said):
        read_recipe("digits", changes)
