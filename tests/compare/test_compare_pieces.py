"""The pieces of a comparison apart: combinations, budgets, evened parameters, and what a difference is worth."""

import dataclasses
import itertools
import math
import re
from types import SimpleNamespace

import pytest
import torch
from scipy import stats
from tiny_models import build
from torch import nn

from spikeformers.analysis.report_kit import figures
from spikeformers.compare import base_recipe, picture, plan_comparison
from spikeformers.compare.base import with_total_epochs
from spikeformers.compare.budget import (
    Budget,
    Price,
    batches_of,
    keep_prices,
    spent,
    steps_of,
    training_flops,
)
from spikeformers.compare.effects import effects_in_words
from spikeformers.compare.even import count_parameters, evened
from spikeformers.compare.front import differences, find_front, find_gains, what_energy_lacks, why_in_front
from spikeformers.compare.outcome import Outcome, read_outcome
from spikeformers.compare.paired import Paired, holm
from spikeformers.compare.plan import Run, combinations, read_swap
from spikeformers.compare.train_all import devices
from spikeformers.ops.spike_product.build import OFF
from spikeformers.training import Recipe
from spikeformers.training.optim import total_epochs
from spikeformers.training.recipe import Schedule

MODEL = {"name": "spikformer", "dim": 32, "depth": 1, "num_heads": 2, "image_size": 16}
ENDS = {"num_classes": 10, "in_channels": 3}


# ---- combinations


def test_swaps_are_read_with_their_brackets_whole():
    words = "attention=SSA,mine.py:Mine,{part: SSA, scale: 0.25}"
    assert read_swap(words) == ("attention", ["SSA", "mine.py:Mine", {"part": "SSA", "scale": 0.25}])
    assert read_swap("time_steps=2,4") == ("time_steps", [2, 4])
    assert read_swap("strides=[2,2],[1,2]") == ("strides", [[2, 2], [1, 2]])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("neuron={part: LIF, tau: 2001-01-01},LIF", "swap neuron has .* which a settings file cannot store"),
        ("neuron=&a [*a],LIF", "swap neuron contains itself by an anchor"),
        ("neuron=" + "[" * 3000 + "]" * 3000, "swap neuron has brackets nested too deeply"),
        ("neuron=2001-99-99,LIF", "swap neuron is not valid YAML: month must be in"),
    ],
)
def test_values_of_a_swap_that_no_settings_file_holds(words, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        read_swap(words)


def test_a_swap_of_what_is_no_part_has_a_name_all_the_same():
    values = [{"part": 3}, {"neuron": 0, "part": "SSA"}]
    assert len({variant.name for variant in combinations(MODEL, {"attention": values})}) == 2


def test_combinations_are_all_pairs_the_first_first():
    variants = combinations(MODEL, {"attention": ["SSA", "SDSA"], "neuron": ["LIF", "PLIF"]})
    assert [variant.name for variant in variants] == ["SSA-LIF", "SSA-PLIF", "SDSA-LIF", "SDSA-PLIF"]
    assert variants[1].model == {**MODEL, "attention": "SSA", "neuron": "PLIF"}


def test_names_are_words_for_folders_and_no_two_alike():
    values = ["SSA", {"part": "SSA", "scale": 0.25}, "a/mine.py:Mine", "b/mine.py:Mine"]
    names = [variant.name for variant in combinations(MODEL, {"attention": values, "time_steps": [2]})]
    assert names == ["SSA-time_steps=2", "SSA(scale=0.25)-time_steps=2", "Mine-time_steps=2", "Mine.2-time_steps=2"]


# ---- budgets


@pytest.mark.parametrize("budget", [Budget("flops", 6.4e9), Budget("minutes", 8.0)])
def test_a_budget_buys_steps_by_their_price(budget):
    recipe = Recipe(model=MODEL, epochs=10, batch_size=10, schedule=Schedule(warmup_epochs=2), run="own")
    images = 503
    batches = batches_of(recipe, images)
    assert batches == 50
    costs = []
    for price in (Price(1.0, 0.3, 1.0, 1e7), Price(2.5, 0.3, 1.0, 2.5e7)):
        bought = spent(recipe, budget, price, batches)
        each = price.flops if budget.of == "flops" else price.seconds / 60
        costs.append(steps_of(bought, images) * each)
        assert bought.trainer["limit_train_batches"] <= batches
        assert math.floor(budget.amount / each) - steps_of(bought, images) in (0, 1, 2, 3)  # never more than it pays
        assert total_epochs(bought) <= 2 * math.ceil(math.floor(budget.amount / each) / batches)
        assert bought.schedule.warmup_epochs == round(0.2 * total_epochs(bought))
    assert costs == pytest.approx([budget.amount] * 2, rel=0.02)


@pytest.mark.parametrize(("steps", "batches"), [(5, 2), (450, 20), (1, 50), (7, 3), (13, 12), (101, 100)])
def test_a_budget_is_never_overspent_and_hardly_underspent(steps, batches):
    recipe = Recipe(model=MODEL, epochs=10, batch_size=10, schedule=Schedule(warmup_epochs=2), run="own")
    bought = spent(recipe, Budget("flops", steps * 1e7 + 1), Price(1.0, 0.3, 1.0, 1e7), batches)
    done = steps_of(bought, 10 * batches)
    assert 0.85 * steps <= done <= steps


def test_prices_are_of_their_own_settings_and_images(tmp_path, recipe_file):
    base = base_recipe(recipe_file, ["--out", str(tmp_path)])
    sizes = plan_comparison(base, {"image_size": [16, 32]}, jobs=1, name="sizes")
    small, large = (sizes.prices[f"image_size={size}"] for size in (16, 32))
    assert large.flops == pytest.approx(4 * small.flops, rel=0.02)  # its stem's four times as many places
    assert not list(tmp_path.iterdir())  # nothing is written yet

    first = plan_comparison(base, {"attention": ["SSA", "SDSA"]}, jobs=1, name="own")
    file = tmp_path / "own" / "prices.json"
    file.parent.mkdir()
    keep_prices(first.prices, first.ready, file)
    again = plan_comparison(base, {"attention": ["SSA", "QKTA"]}, jobs=1, name="own")
    assert again.prices["SSA"] == first.prices["SSA"]  # taken from the file
    wider = dataclasses.replace(base, model={**base.model, "dim": 32})
    other = plan_comparison(wider, {"attention": ["SSA", "SDSA"]}, jobs=1, name="own")
    assert other.prices["SSA"].flops > 2 * first.prices["SSA"].flops  # measured again


def test_a_budget_of_epochs_leaves_the_recipe_as_it_is():
    recipe = Recipe(model=MODEL)
    assert spent(recipe, Budget(), Price(1.0, 0.3, 1.0, 1e7), 50) is recipe


def test_a_budget_below_one_step_is_refused():
    recipe = Recipe(model=MODEL, run="own")
    with pytest.raises(ValueError, match=r"minutes 0.01 is less than one step of own, 0.0333 minutes"):
        spent(recipe, Budget("minutes", 0.01), Price(2.0, 0.3, 1.0, 1e7), 50)
    with pytest.raises(ValueError, match="allows no training step"):
        Budget("flops", -1)


def test_limits_of_the_trainer_count_in_an_epoch():
    recipe = Recipe(model=MODEL, batch_size=10, epochs=3)
    assert batches_of(dataclasses.replace(recipe, trainer={"limit_train_batches": 7}), 500) == 7
    assert batches_of(dataclasses.replace(recipe, trainer={"limit_train_batches": 0.5}), 500) == 25
    assert steps_of(recipe, 509) == 150
    assert batches_of(dataclasses.replace(recipe, trainer={"limit_train_batches": None}), 500) == 50
    for limit in (0, 0.001):
        with pytest.raises(ValueError, match="leaves no step of training: raise what limits it"):
            batches_of(dataclasses.replace(recipe, trainer={"limit_train_batches": limit}), 500)


def test_the_cool_down_is_part_of_all_epochs():
    recipe = with_total_epochs(Recipe(model=MODEL, epochs=90, schedule=Schedule(cooldown_epochs=10)), 20)
    assert (recipe.epochs, recipe.schedule.cooldown_epochs) == (18, 2)


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        ({"name": "multistep", "milestones": [8, 11]}, 6, {"milestones": [4, 5]}),
        ({"name": "multistep", "milestones": [4, 5, 8, 11, 13]}, 3, {"milestones": [1, 2, 2, 2, 3]}),
        ({"name": "multistep", "milestones": [4, 5, 11]}, 4, {"milestones": [1, 2, 3]}),
        ({"name": "multistep", "milestones": [8, 11]}, 24, {"milestones": [16, 22]}),
        ({"name": "step", "decay_epochs": 4}, 6, {"decay_epochs": 2}),
        ({"name": "step", "decay_epochs": 1}, 3, {"decay_epochs": 1}),
        ({"name": "step", "decay_epochs": 11}, 3, {"decay_epochs": 2}),
        ({"warmup_updates": 1000, "per_update": True}, 6, {"warmup_updates": 500, "decay_epochs": 90}),
    ],
)
def test_every_length_of_a_schedule_keeps_its_share(schedule, epochs, expected):
    recipe = Recipe(model=MODEL, epochs=12, schedule=Schedule(**schedule))
    changed = with_total_epochs(recipe, epochs)
    assert (changed.epochs, {field: getattr(changed.schedule, field) for field in expected}) == (epochs, expected)
    assert with_total_epochs(recipe, 12) == recipe


def test_lengths_that_are_asked_for_stay_and_the_others_follow():
    assert base_recipe("sdt_v3_coco", ["--epochs", "6"]).schedule.milestones == [4, 5]
    words = ["--epochs", "6", "--schedule.milestones", "[2, 3]"]
    schedule = base_recipe("sdt_v3_coco", words).schedule
    assert (schedule.milestones, schedule.warmup_updates) == ([2, 3], 500)


def test_a_budget_keeps_the_share_of_a_warm_up_in_updates():
    recipe = Recipe(model=MODEL, epochs=10, schedule=Schedule(warmup_updates=100, per_update=True), run="own")
    bought = spent(recipe, Budget("flops", 201e7), Price(1.0, 0.3, 1.0, 1e7), batches=50)
    assert total_epochs(bought) * bought.trainer["limit_train_batches"] == 200  # of 500 updates
    assert bought.schedule.warmup_updates == 40


def test_a_budget_too_small_for_the_schedule_is_told_before_training(recipe_file, tmp_path):
    words = ["--epochs", "12", "--schedule.name", "multistep", "--schedule.milestones", "[8, 11]"]
    base = base_recipe(recipe_file, ["--out", str(tmp_path), *words])
    swaps = {"attention": ["SSA", "SDSA"]}
    step = plan_comparison(base, swaps, jobs=1).prices["SSA"].flops
    with pytest.raises(ValueError, match=r"^SSA: schedule\.milestones \[1, 1\] is not below epochs 1: the rate never"):
        plan_comparison(base, swaps, jobs=1, budget=Budget("flops", 1.5 * step))


def test_several_devices_a_run_are_refused():
    for trainer, said in (
        ({"devices": 2}, "devices 2"),
        ({"devices": "2"}, "devices 2"),
        ({"devices": -1}, "devices -1"),
        ({"devices": "auto"}, "devices auto"),
        ({"devices": [0, 1]}, r"devices \[0, 1\]"),
        ({"devices": [1]}, r"devices \[1\]"),  # each run sees a device of its own, with the number 0
        ({"devices": 1, "num_nodes": 2}, "num_nodes 2"),
    ):
        recipe = Recipe(model=MODEL, trainer=trainer, run="own")
        with pytest.raises(
            ValueError, match=rf"^trainer\.{said}: a comparison trains each run on one device; leave it"
        ):
            plan_comparison(recipe, {"neuron": ["LIF", "PLIF"]})


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({"limit_val_batches": 0}, "limit_val_batches 0: a comparison selects epochs by validation; leave it out"),
        ({"limit_val_batches": 0.0}, "limit_val_batches 0: a comparison selects epochs by validation; leave it out"),
    ],
)
def test_limits_that_a_comparison_cannot_keep_to_are_refused(trainer, said):
    with pytest.raises(ValueError, match=f"^trainer.{said}$"):
        plan_comparison(Recipe(model=MODEL, trainer=trainer, run="own"), {"neuron": ["LIF", "PLIF"]})


def test_runs_on_the_processor_are_priced_and_counted_there(recipe_file, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    base = base_recipe(recipe_file, ["--out", str(tmp_path), "--trainer.accelerator", "cpu"])
    assert (devices(base), devices(base_recipe(recipe_file))) == (1, 4)
    plan = plan_comparison(base, {"attention": ["SSA", "SDSA"]})
    assert plan.jobs == 1 and next(plan.ready["SSA"].model.parameters()).device.type == "cpu"


def test_a_run_without_its_score_is_named(tmp_path):
    run = Run("A", Recipe(model=MODEL, out=str(tmp_path), run="a"))
    run.folder.mkdir()
    (run.folder / "results.json").write_text('{"epoch": 2, "test": {}}')
    for row in ("1,50", "2,"):
        (run.folder / "metrics.csv").write_text(f"epoch,val_acc\n{row}\n")
        with pytest.raises(ValueError, match=r"a/metrics\.csv has no val_acc for epoch 2, .*: delete .*/a, so that it"):
            read_outcome(run)


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_flops_of_grouped_convolutions_are_those_of_their_groups(groups, kind):
    """Forward, and as many for the gradient of each weight and of each input but the first."""
    convs = nn.Sequential(*(kind(8, 8, 3, padding=1, groups=groups) for _ in range(2)), nn.Flatten())
    assert training_flops(convs, torch.randn(2, 8, 5, 5)) == (2 + 3) * 2 * 2 * 25 * 9 * 8 * 8 / groups


def test_flops_of_a_step_are_those_of_its_products():
    # 5 x 7 x 3 multiplications with their sums forward, as many for the gradient of the weights, and none for x
    assert training_flops(nn.Linear(7, 3), torch.randn(5, 7)) == 2 * 2 * 5 * 7 * 3


# ---- parameters


def test_parameters_are_evened_out_by_a_number():
    variants = combinations({**MODEL, "mlp_ratio": 4}, {"mlp": ["MLP", "GWFFN"]})
    before = [count_parameters({**variant.model, **ENDS}) for variant in variants]
    even = evened(variants, "mlp_ratio", ENDS)
    after = [count_parameters({**variant.model, **ENDS}) for variant in even]
    assert after[0] == before[0]
    assert abs(after[1] - after[0]) < min(0.05 * after[0], abs(before[1] - before[0]))
    assert even[1].model["mlp_ratio"] != 4


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("mlp", "mlp is swapped, so it cannot also even out parameters"),
        ("time_steps", "time_steps does not change the parameters of GWFFN"),
        ("num_heads", "num_heads does not change the parameters of GWFFN"),
        ("strides", "strides of GWFFN is .*: give --even a number"),
    ],
)
def test_what_cannot_even_out(argument, said):
    variants = combinations(MODEL, {"mlp": ["MLP", "GWFFN"]})
    with pytest.raises(ValueError, match=said):
        evened(variants, argument, ENDS)


def test_what_is_about_as_large_is_left_alone():
    first, second = evened(combinations(MODEL, {"attention": ["SSA", "SDSA"]}), "num_heads", ENDS)
    assert (first.model, second.model) == ({**MODEL, "attention": "SSA"}, {**MODEL, "attention": "SDSA"})


# ---- what a difference is worth


def test_the_paired_test_is_scipys():
    one, other = [90.1, 90.9, 91.3, 90.2], [89.8, 90.1, 90.9, 90.3]
    paired = Paired(tuple(a - b for a, b in zip(one, other, strict=True)))
    expected = stats.ttest_rel(one, other)
    assert paired.p == pytest.approx(expected.pvalue)
    assert paired.interval == pytest.approx(tuple(expected.confidence_interval()))


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 34), (1.0, 10), (2.0, 5)])
def test_seeds_needed_are_those_of_the_tables(effect, seeds):
    """Of a paired t-test, two-sided, level 0.05, power 0.8, as G*Power gives them."""
    # mean `effect`, standard deviation 1
    assert Paired((effect - 1, effect, effect + 1)).needed == seeds


def test_what_is_visible_would_be_seen():
    paired = Paired((-1.0, 0.0, 1.0, 2.0, -2.0))
    assert Paired(tuple(d + paired.visible for d in paired.differences)).needed == 5
    assert Paired(tuple(d + 0.8 * paired.visible for d in paired.differences)).needed > 5


def test_many_comparisons_ask_for_more():
    differences = (0.0, 0.5, 1.0)
    assert Paired(differences, tests=7).needed > Paired(differences).needed
    assert Paired(differences, tests=7).visible > Paired(differences).visible
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_in_a_newcomers_words():
    unseen = Paired((0.9, 0.4, -0.1))
    words = unseen.in_words("PLIF", "LIF", unseen.p)
    assert words.startswith(
        f"3 seeds cannot detect a difference of 0.40 points here; about {unseen.needed} could. (PLIF is "
    )
    assert unseen.needed == 15  # as docs/comparing.md has it
    seen = Paired((-2.0, -2.1, -1.9)).in_words("IF", "LIF", 0.001)
    assert "IF is 2.00 points below LIF over 3 seeds (95 % interval -2.25 to -1.75): more than chance" in seen
    assert "One seed cannot tell" in Paired((0.7,)).in_words("A", "B", 1.0)
    assert "score the same with each of 2 seeds" in Paired((0.0, 0.0)).in_words("A", "B", 1.0)
    assert "more than 1000 would be needed" in Paired((5.0, -5.0, 0.001)).in_words("A", "B", 1.0)
    assert "less than two test images" in Paired((5.0, -5.0), grain=0.1).in_words("A", "B", 1.0)


def test_seeds_that_coincide_spread_by_a_test_image_at_least():
    one_image = 100 / 359
    paired = Paired((one_image, one_image), grain=one_image)
    assert paired.p > 0.05
    assert paired.spread == pytest.approx(one_image / 6**0.5)
    assert "differ by less than two test images" in paired.in_words("B", "A", paired.p)
    assert Paired((5.0, 5.0, 5.0), grain=one_image).p < 0.01
    wide = Paired((0.3, -0.2, 0.1), grain=0.01)
    assert wide.spread == pytest.approx(stats.tstd([0.3, -0.2, 0.1]))


def test_where_so_few_seeds_would_see_nothing_that_is_said():
    paired = Paired((40.0, -30.0), tests=20)
    assert paired.visible == math.inf
    assert "2 seeds can detect no difference at all" in paired.in_words("B", "A", 1.0)


def outcome(variant, seed, test, energy=1.0):
    return Outcome(variant, seed, 0.0, test, 10_000, 1, 1.0, 0.0, 0.0, 0.1, {"strict": energy})


# test accuracies and energies over three seeds
SURE, WORSE, NOISY = (80.0, 80.1, 79.9), (70.0, 70.1, 69.9), (84.0, 79.0, 80.6)
LOW, HIGH, VAGUE = (1.0, 1.01, 0.99), (2.0, 2.01, 1.99), (0.7, 1.6, 0.9)


@pytest.mark.parametrize(
    ("variants", "starred"),
    [
        ({"A": (SURE, LOW), "B": (NOISY, HIGH)}, {"A"}),  # B's mean is higher, which the text calls noise
        ({"A": (NOISY, HIGH), "B": (SURE, LOW)}, {"B"}),
        ({"A": (SURE, LOW), "B": (NOISY, LOW)}, set()),  # nothing tells them apart
        ({"A": (SURE, LOW), "B": (SURE, VAGUE)}, set()),  # a lower energy may be noise too
        ({"A": (SURE, HIGH), "B": (WORSE, LOW)}, {"A", "B"}),  # each is better in one
        ({"A": (SURE, LOW), "B": (WORSE, HIGH)}, {"A"}),
        ({"A": (SURE, LOW), "B": (NOISY, LOW), "C": (WORSE, HIGH)}, {"A", "B"}),
        ({"A": (SURE[:1], LOW[:1]), "B": (WORSE[:1], HIGH[:1])}, set()),  # one seed shows nothing
    ],
)
def test_no_star_is_for_what_may_be_chance(variants, starred):
    outcomes = [
        outcome(name, seed, test, energy)
        for name, (tests, energies) in variants.items()
        for seed, (test, energy) in enumerate(zip(tests, energies, strict=True))
    ]
    names = list(variants)
    against = {name: Paired(differences(outcomes, name, "A"), len(names) - 1, 0.01) for name in names[1:]}
    corrected = dict(zip(against, holm([paired.p for paired in against.values()]), strict=True))
    gains = find_gains(outcomes, names, "A", corrected, 0.01)
    assert set(find_front(gains)) == starred
    for name in starred:
        assert why_in_front(name, gains[name]).startswith(f"{name} has its * for ")
    for name, paired in against.items():  # and what the text calls noise has no mark
        calls_it_real = "more than chance" in paired.in_words(name, "A", corrected[name])
        assert paired.shows(corrected[name]) == calls_it_real
        assert ("a higher test accuracy" in gains[name]["A"] + gains["A"][name]) == calls_it_real


def test_energy_that_lacks_operations_is_compared_with_none():
    outcomes = [
        outcome(name, seed, test, energy)
        for name, energies in (("A", LOW), ("B", HIGH))
        for seed, (test, energy) in enumerate(zip(SURE, energies, strict=True))
    ]
    assert find_gains(outcomes, ["A", "B"], "A", {}, 0.01)["A"]["B"] == ["less energy"]
    assert what_energy_lacks(outcomes, ["A", "B"]) == []
    outcomes[0] = dataclasses.replace(outcomes[0], uncounted=["attn.polygamma1"])
    assert find_gains(outcomes, ["A", "B"], "A", {}, 0.01) == {"A": {"B": []}, "B": {"A": []}}
    (said,) = what_energy_lacks(outcomes, ["A", "B"])
    assert said.startswith("The energy of A lacks attn.polygamma1")


def test_two_test_images_are_no_difference_whatever_their_p():
    paired = Paired((0.15, 0.15, 0.15), grain=0.1)
    assert not paired.shows(0.0)
    assert "less than two test images" in paired.in_words("B", "A", 0.0)


# ---- the picture


def row(variant, energy, validation, spread=0.5, **other):
    values = {"variant": variant, "millijoules": energy, "millijoules_spread": energy / 50, "validation": validation,
              "validation_spread": spread, "test": validation - 1, "on_front": True, **other}  # fmt: skip
    return SimpleNamespace(**values)


@pytest.mark.parametrize(
    ("energies", "accuracies", "broken"),
    [((1e-3, 4e-3), (20.0, 90.0), ()), ((5e-3, 6e-3), (20.0, 90.0), ("x",)), ((5e-3, 6e-3), (80.0, 82.0), ("x", "y"))],
)
def test_axes_begin_at_0_or_are_marked(monkeypatch, tmp_path, energies, accuracies, broken):
    drawn = []
    monkeypatch.setattr(picture, "save", lambda figure, file: drawn.append(figure))
    rows = [row(name, *values) for name, *values in zip("AB", energies, accuracies, strict=True)]
    picture.draw_front(rows, tmp_path / "front.svg")
    axis = drawn[0].axes[0]
    for which in "xy":
        begins, says = getattr(axis, f"get_{which}lim")()[0], getattr(axis, f"get_{which}label")()
        assert (begins > 0, "axis not from 0" in says) == ((which in broken),) * 2
    marks = [line for line in axis.lines if line.get_transform() == axis.transAxes]
    assert len(marks) == 2 * len(broken)
    bars = [segment for bar in axis.containers[0][2] for segment in bar.get_segments()]
    wide = [abs(end[0] - start[0]) for start, end in bars if start[1] == end[1]]
    assert wide == pytest.approx([2 * energy / 50 * 1e3 for energy in energies])  # the spread of energy, in µJ


def test_names_stand_on_nothing_else(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(picture, "save", lambda figure, file: drawn.append(figure))
    rows = [row(f"FrozenSSA-PLIF-{i}", 4e-3 + 1e-4 * i, 80 + 0.1 * i, spread=4.0) for i in range(5)]
    picture.draw_front(rows, tmp_path / "front.svg")
    axis = drawn[0].axes[0]
    boxes = [text.get_window_extent() for text in axis.texts if text.get_text()]
    assert len(boxes) == 5
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(axis.get_window_extent().x1 >= box.x1 for box in boxes)


def test_a_picture_reads_at_the_width_of_a_phone(tmp_path):
    """Its letters, 8 points at the least, are shown 360 pixels wide at 3/4 of their size or more."""
    picture.draw_front([row("A", 1.0, 80.0), row("B", 2.0, 82.0)], tmp_path / "front.svg")
    wide = float(re.search(r'width="([\d.]+)pt"', (tmp_path / "front.svg").read_text())[1])
    assert 328 / (wide * 96 / 72) >= 0.75
    assert figures.FONT >= 9


def test_a_value_is_told_against_its_swaps_first_over_all_else():
    variants = combinations(MODEL, {"attention": ["SSA", "SDSA"], "neuron": ["LIF", "PLIF", "IF"]})
    runs = [Run(v.name, Recipe(model=v.model, seed=seed), v.chosen) for seed in (0, 1, 2) for v in variants]
    points = {"SSA": 0.0, "SDSA": -1.0, "LIF": 0.0, "PLIF": 0.5, "IF": -3.0}
    outcomes = [
        outcome(run.variant, run.recipe.seed, 80 + run.recipe.seed + sum(points[word] for word in run.chosen.values())
                + 0.3 * (-1) ** number)
        for number, run in enumerate(runs)
    ]  # fmt: skip
    sdsa, plif, if_ = effects_in_words(runs, outcomes, 0.01)
    assert sdsa.startswith("Over all of neuron: SDSA is ")
    assert "points below SSA over 3 seeds" in sdsa
    assert "points above LIF" in plif or "PLIF, above LIF" in plif
    assert if_.startswith("Over all of attention: IF is 3.00 points below LIF")
    assert effects_in_words(runs, outcomes[:5], 0.01) == []  # no seed is whole
    single = combinations(MODEL, {"neuron": ["LIF", "PLIF"]})
    runs = [Run(v.name, Recipe(model=v.model), v.chosen) for v in single]
    assert effects_in_words(runs, [outcome(run.variant, 0, 80.0) for run in runs], 0.01) == []


def test_flops_are_the_dense_ones_whatever_the_kernels(monkeypatch):
    model = build("spikformer", dim=32, depth=1, num_heads=2)  # 32 channels, which a kernel takes
    x, found = torch.randn(2, 3, 16, 16), []
    for off in ("0", "1"):
        monkeypatch.setenv(OFF, off)
        found.append(training_flops(model, x))
    assert found[0] == found[1]


def test_variants_without_a_seed_in_common_have_no_gain():
    made = [outcome("A", 0, 90.0), outcome("B", 1, 95.0)]
    assert find_gains(made, ["A", "B"], "A", {}, 0.01) == {"A": {"B": []}, "B": {"A": []}}
