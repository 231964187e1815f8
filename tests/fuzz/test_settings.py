"""Fields of a recipe, arguments of models, optimizers and the Trainer, and options of commands, as anything that YAML
can spell, given to `train` and `compare` in every way in which they take settings.
"""

import dataclasses
import inspect
import json
import shutil
import typing

import lightning.pytorch as pl
import pytest
import tiny_dense
import yaml
from fuzz_inputs import YAML, damaged, spelt
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import TINY
from tiny_runs import write_images

import spikeformers as sf
from spikeformers.models.parts import find_part, part_names, slot_of
from spikeformers.models.registry import find_family
from spikeformers.training.recipe import Recipe

MODELS = ("spikformer", "qkformer", "sdt", "spikingresformer", "maxformer", "sew_resnet")
DENSE = ("boxed", "outlined", "masked")


def builder_of(model):
    return find_family(tiny_dense.MODELS[model]["name"] if model in DENSE else TINY[model][0]).builder


def fields(cls=Recipe, prefix=""):
    """Dotted names of a recipe's fields and groups."""
    for name, hint in typing.get_type_hints(cls).items():
        yield prefix + name
        if dataclasses.is_dataclass(hint):
            yield from fields(hint, f"{prefix}{name}.")


PLAIN = [*fields()]
OPEN = {
    "trainer": [name for name in inspect.signature(pl.Trainer.__init__).parameters if name != "self"],
    "optimizer.args": ["betas", "eps", "momentum", "foreach", "lr", "x"],
}
NEAR = st.one_of(  # what fields and arguments mostly take
    st.integers(0, 12), st.sampled_from((10**6, 10**9)), st.floats(0, 2), st.booleans(),
    st.lists(st.integers(0, 64), min_size=1, max_size=4), st.lists(st.floats(0, 2), min_size=2, max_size=2),
)  # fmt: skip
PATHS = ("out", "run", "data", "data.name", "data.root", "data.cache", "start_from", "distill.teacher")


@st.composite
def parts(draw, slot):
    """A part of ours, with up to two of its arguments set to anything."""
    name = draw(st.sampled_from(part_names(slot)))
    arguments = [*inspect.signature(find_part(slot, name)).parameters] or ["x"]
    inside = st.lists(st.sampled_from(arguments), max_size=2, unique=True)
    return {"part": name, **{key: draw(NEAR | YAML) for key in draw(inside)}}


@st.composite
def changes(draw, model):
    """One or two names, and what they are set to."""
    arguments = [f"model.{name}" for name in inspect.signature(builder_of(model)).parameters]
    opened = [f"{group}.{name}" for group, names in OPEN.items() for name in names]
    made = {}
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(draw(st.sampled_from((PLAIN, arguments, opened)))))
        slot = slot_of(name.removeprefix("model.")) if name in arguments else None
        value = draw(parts(slot) if slot and draw(st.booleans()) else NEAR | YAML)
        writes_elsewhere = name in PATHS and "/" in json.dumps(value, default=str)
        if not writes_elsewhere and name != "compile":  # which takes a minute
            made[name] = value
    return made


def with_changes(settings, changes):
    settings = json.loads(json.dumps(settings))
    for name, value in changes.items():
        *groups, last = name.split(".")
        at = settings
        for group in groups:
            at = at.setdefault(group, {})
            if not isinstance(at, dict):
                break
        else:
            at[last] = value
    return settings


@pytest.fixture
def recipe(tmp_path):
    folder = write_images(tmp_path / "set", ("left", "right"), train=4, test=2, size=16)
    makers = (tiny_dense.write_voc, tiny_dense.write_coco, tiny_dense.write_masks)
    few = {"train": 4, "test": 2, "val": 1}
    folders = {kind: make(tmp_path / kind, counts=few) for kind, make in zip(DENSE, makers, strict=True)}

    def recipe(model):
        name, numbers = TINY.get(model, ("", {}))
        return {
            "model": tiny_dense.MODELS.get(model) or {"name": name, **json.loads(json.dumps(numbers))},
            "data": {"name": str(folders.get(model, folder)), "validation": 0, "workers": 0},
            "epochs": 1,
            "batch_size": 4,
            "profile_every": 0,
            "trainer": {"limit_train_batches": 1},
        }

    return recipe


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """One core, so that nothing is started beside the test, and one epoch, whatever is asked for."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    monkeypatch.setattr("spikeformers.training.trainer.total_epochs", lambda _: 1)


@pytest.fixture
def hold(ask, tmp_path, recipe, without_pictures):
    """Trains a model by a recipe with changes, by a file, the words of a command or an earlier run, to the rule."""

    def hold(model, changes, door):
        plain = recipe(model)
        file = tmp_path / "earlier" / "settings.yaml"
        file.parent.mkdir()
        file.write_text(yaml.safe_dump(plain if door == "words" else with_changes(plain, changes)))
        words = {
            "file": [file],
            "like": ["--like", file.parent],
            "words": [file, *(f"--{name}={spelt(value)}" for name, value in changes.items())],
        }
        before = {*tmp_path.iterdir()}
        try:
            ran = ask("train", *words[door], sizes=True)
            if "\ntest " in ran.out:
                (run,) = {entry.parent for entry in tmp_path.rglob("results.json")}
                if model in DENSE:
                    assert ask("eval", run, "--json").answer == json.loads((run / "results.json").read_text())["test"]
                else:
                    told = ask("eval", run).out.partition("top-1 ")[2].partition(",")[0]
                    assert f"test accuracy {told} on 4 images" in ran.out
            return ran.status
        finally:
            shutil.rmtree(file.parent)
            for entry in {*tmp_path.iterdir()} - before:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    return hold


@pytest.mark.quick(8)
def test_detectors_and_segmenters(tries, hold):
    @tries
    @given(data=st.data(), model=st.sampled_from(DENSE), door=st.sampled_from(("file", "words", "like")))
    def check(data, model, door):
        hold(model, data.draw(changes(model)), door)

    check()


@pytest.mark.quick(30)
def test_train(tries, hold):
    @tries
    @given(data=st.data(), model=st.sampled_from(MODELS), door=st.sampled_from(("file", "words", "like")))
    def check(data, model, door):
        hold(model, data.draw(changes(model)), door)

    check()


@pytest.mark.quick(8)
def test_compare(tries, ask, tmp_path, recipe):
    """The sizes that a plan tells are those of the models that its combinations make."""

    @tries
    @given(data=st.data(), model=st.sampled_from(MODELS))
    def check(data, model):
        argument = data.draw(st.sampled_from([*inspect.signature(builder_of(model)).parameters]))
        slot = slot_of(argument)
        values = data.draw(st.lists(parts(slot) if slot else NEAR | YAML, min_size=2, max_size=2))
        given = with_changes(recipe(model), data.draw(changes(model)) if data.draw(st.booleans()) else {})
        if isinstance(given["data"], dict):
            given["data"]["validation"] = 0.25
        (tmp_path / "plain.yaml").write_text(yaml.safe_dump(given))
        swap = f"{argument}={','.join(map(spelt, values))}"
        ran = ask("compare", "plain.yaml", "--swap", swap, "--seeds", 1, "--dry-run", sizes=True)
        assert not ran.made
        if ran.status == 0:
            for value in values:
                model = sf.create_model(**{**given["model"], argument: value, "num_classes": 2, "in_channels": 3})
                assert f" {sum(weight.numel() for weight in model.parameters()):,} " in ran.out

    check()


@pytest.mark.quick(20)
def test_damaged_files(tries, ask, tmp_path, recipe):
    """A recipe's file that is cut or flipped ends in one line, at the least for a batch that is too large."""
    plain = yaml.safe_dump(recipe("spikformer")).encode()

    @tries
    @given(data=damaged(plain))
    def check(data):
        (tmp_path / "a.yaml").write_bytes(data)
        assert ask("train", "a.yaml", "--batch_size=100000").status == 2

    check()


OPTIONS = {
    "eval": ("--data", "--root", "--model", "--batch-size", "--workers", "--time-steps", "--skip-broken", "--engine",
        "--int8", "--json"),
    "predict": ("--top", "--skip-broken", "--engine", "--int8", "--json"),
    "identify": ("--json",),
    "analyze": (
        "--data", "--root", "--out", "--images", "--batch-size", "--convention", "--mac", "--ac", "--raster", "--shown",
    ),
    "compare-energy": ("--data", "--root", "--images", "--batch-size", "--mac", "--ac", "--csv", "--json"),
}  # fmt: skip


FLAGS = {"--skip-broken", "--engine", "--int8", "--json"}
ALIKE = {"--batch-size", "--workers", "--skip-broken", "--root"}  # they change no answer


@pytest.mark.quick(12)
def test_options(tries, ask, tmp_path, knows_pictures):
    """Options of the commands that take a run, set to anything; those that change no answer change none."""
    files = {"predict": [knows_pictures / "samples"]}

    def run(command, *options):
        ran = ask(command, knows_pictures, *files.get(command, []), *options, sizes=True)
        for entry in (tmp_path / name for name in ran.made if "/" not in name):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        return ran

    plain = {command: run(command).out for command in OPTIONS}

    @tries
    @given(command=st.sampled_from(list(OPTIONS)), data=st.data())
    def check(command, data):
        options = data.draw(st.lists(st.sampled_from(OPTIONS[command]), min_size=1, max_size=2))
        words = []
        for option in options:
            value = spelt(data.draw(NEAR | YAML))
            takes = option not in FLAGS
            words += [f"{option}={value}"] if takes and "/" not in value else [option]
        ran = run(command, *words)
        if ran.status == 0:
            assert ran.out == plain[command] if ALIKE.issuperset(options) else ran.out

    check()
