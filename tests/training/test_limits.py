"""Every field of a recipe against values that are no setting: one line that names the field, or a setting after all."""

import copy
import dataclasses
import functools
import math
import typing

import pytest

from spikeformers import cli
from spikeformers.training import Recipe, read_recipe
from spikeformers.training.limits import RANGES, check_settings
from spikeformers.training.prepare import prepare

ODD = {"nan": math.nan, "inf": math.inf, "-1": -1, "two": "two", "null": None, "list": [1, "a"], "map": {"a": 1}}


def fields(cls=Recipe, prefix=""):
    for name, hint in typing.get_type_hints(cls).items():
        yield prefix + name, hint
        if dataclasses.is_dataclass(hint):
            yield from fields(hint, f"{prefix}{name}.")


FIELDS = dict(fields())
FREE_TEXT = {name for name, hint in FIELDS.items() if str in (hint, *typing.get_args(hint))}
DIGITS = read_recipe("digits")
OPEN = {"model", "trainer", "optimizer.args"}  # what is inside is checked where it is used


def answer(make):
    """What a mistake is answered with, or nothing."""
    try:
        make()
    except ValueError as error:
        assert "\n" not in str(error)
        return str(error)
    return None


def may_be(name, odd):
    """Whether a field may have an odd value after all."""
    if odd == "two":
        return name in {*FREE_TEXT, "model", "data"}  # which take a name
    if odd == "map":
        return name in {*OPEN, "augment.clip_ops"}
    return type(None) in typing.get_args(FIELDS[name]) if odd == "null" else (name, odd) == ("loss.tet_target", "-1")


@pytest.mark.parametrize("name", FIELDS)
def test_odd_values(name):
    for odd, value in ODD.items():
        said = answer(lambda value=value: read_recipe("digits", {name: value}))
        assert may_be(name, odd) or (said and name in said), (name, value)
    for word in (".nan", "{a: ["):
        answer(lambda word=word: read_recipe("digits", [f"--{name}={word}"]))


@pytest.mark.parametrize("name", [name for name, hint in FIELDS.items() if not dataclasses.is_dataclass(hint)])
def test_odd_values_of_a_recipe_that_is_there(name):
    """It is a plain object, and anything may have been set: what is not refused above is refused when it is used."""
    recipe = copy.deepcopy(DIGITS)
    *groups, last = name.split(".")
    for odd, value in ODD.items():
        setattr(functools.reduce(getattr, groups, recipe), last, value)
        said = answer(recipe.check)
        assert (may_be(name, odd) and name != "model") or (said and name in said), (name, value)


@pytest.mark.parametrize("limits", RANGES, ids=lambda limits: limits.fields)
def test_ranges_end_where_they_say(limits):
    low, high = (end for end in limits.interval[1:-1].split(", "))
    assert limits.holds(float(low)) == (limits.interval[0] == "[")
    assert not limits.holds(float(low) - 0.5)
    if high != "inf":
        top = 2.0**32 if high == "2**32" else float(high)
        assert limits.holds(top) == (limits.interval[-1] == "]")
        assert not limits.holds(top + 0.5)
    assert set(limits.fields.split()) <= set(FIELDS)


def test_every_number_has_a_range_or_needs_none():
    ranged = {name for limits in RANGES for name in limits.fields.split()}
    numbers = {name for name, hint in FIELDS.items() if {int, float} & set(leaves(hint))}
    assert numbers - ranged == {"loss.tet_target", "data.mean"}


def leaves(hint):
    return [hint, *(leaf for inner in typing.get_args(hint) for leaf in leaves(inner))]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clip_grad_norm": -1}, "clip_grad_norm -1.0 is not above 0: null clips nothing"),
        ({"augment.mixup": -1}, "augment.mixup -1.0 is below 0"),
        ({"optimizer.lr": math.nan}, "optimizer.lr must hold finite numbers, not nan"),
        ({"optimizer": {"args": {"eps": math.nan}}}, "optimizer.args.eps must hold finite numbers, not nan"),
        ({"model.neuron": {"part": "LIF", "tau": math.inf}}, "model.neuron must hold finite numbers, not inf"),
        ({"augment.crop_scale": [0.9, 0.1]}, "augment.crop_scale (0.9, 0.1) ends before it begins"),
        ({"augment.crop_scale": [0, 1]}, "is not in (0, 1]: it is a share of the image"),
        ({"augment.clip_ops": {"roll": -3}}, "augment.clip_ops {'roll': -3.0} is below 0"),
        ({"model": None}, "model must be a mapping, not null"),
        ({"model.name": 16}, "model.name is 16: give the name of a model"),
        ({"model": {"name": None}}, "model.name is null: give the name of a model"),
    ],
)
def test_what_is_said(changes, said):
    assert said in answer(lambda: read_recipe("digits", changes))


def test_a_recipe_made_in_python():
    with pytest.raises(ValueError, match=r"epochs must be int, not 'two'"):
        Recipe(model={"name": "spikformer"}, epochs="two")
    check_settings(read_recipe("digits"))


@pytest.mark.parametrize(
    ("argument", "value"),
    [("neuron", {"part": "LIF", "tau": "two"}), ("attention", {"part": "SSA", "scale": "big"}),
     ("neuron", {"part": "LIF", "v_threshold": [1]})],
)  # fmt: skip
def test_arguments_of_parts_that_are_of_no_use(recipe_file, argument, value):
    said = answer(lambda: prepare(read_recipe(recipe_file, {"model": {argument: value}})))
    assert said and argument in said and value["part"] in said


def test_the_command_ends_with_2_and_one_line(recipe_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words in (
        ["--clip_grad_norm", "-1"], ["--augment.mixup=-1"], ["--batch_size", "0"], ["--epochs", "0"],
        ["--model", "null"], ["--optimizer.lr", ".nan"], ["--model.neuron", "{part: LIF, tau: two}"],
        ["--model", "{a: ["],
        ["--model.attention", "{part: SSA, scale: big}"], ["--optimizer.args", "{betas: two}"],
        ["--trainer.devices", ".nan"], ["--trainer.devices", "two"],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as end:
            cli.main(["train", recipe_file, *words])
        said = capsys.readouterr().err
        assert (end.value.code, len(said.splitlines())) == (2, 1), said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["#", "&a", "# run", "a: b", "[x", "1", "yes"])
def test_a_text_is_taken_as_it_is_written(text):
    """Not as YAML, where a name such as # would be nothing, and the run would get another's."""
    assert read_recipe("digits", ["--run", text, "--data.cache", text]).run == text
    assert read_recipe("digits", {"start_from": text}).start_from == text
    assert read_recipe("digits", ["--clip_grad_norm", "Null", "--start_from", "null"]).clip_grad_norm is None
