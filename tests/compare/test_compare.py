"""`spikeformers compare`: what is trained, what is skipped, what the report says, what is refused before training."""

import contextlib
import csv
import io
import json
import logging
import re
import shutil
import statistics
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from browser import needs_a_browser, on_a_phone
from filelock import FileLock

from spikeformers import cli
from spikeformers.compare import base_recipe, compare, train_all
from spikeformers.training.module import TrainingModule

IDEA = """
    from torch import nn

    from spikeformers.layers.conv import ConvNorm


    class MyAttention(nn.Module):
        def __init__(self, dim, num_heads, neuron, *, bias=False):
            super().__init__()
            self.v, self.v_neuron, self.proj = ConvNorm(dim, dim, bias=bias), neuron(), ConvNorm(dim, dim)

        def forward(self, x):
            return self.proj(self.v_neuron(self.v(x)))


    class LookingAhead(MyAttention):
        def forward(self, x):
            return super().forward(x).flip(0)


    class Remembering(MyAttention):
        last = 0.0

        def forward(self, x):
            self.last, y = self.last + 1.0, super().forward(x) + self.last
            return y
"""


# What the runs of `compared` have unlike the tiny recipe. The test set is read each epoch, as most recipes say.
CHANGES = ["--epochs", "2", "--augment.hflip", "0.5", "--data.test_each_epoch", "true"]


@pytest.fixture(scope="module")
def ideas(tmp_path_factory):
    """The one file of somebody with an idea."""
    file = tmp_path_factory.mktemp("ideas") / "my_ideas.py"
    file.write_text(textwrap.dedent(IDEA))
    return file


@pytest.fixture(scope="module")
def compared(ideas, recipe_file, tmp_path_factory):
    """One command over one file, run once: an attention of ours, one of a reader's, two seeds.

    The labels of each batch are noted by run, as they were trained on.
    """
    out = tmp_path_factory.mktemp("out")
    batches: dict = {}
    step = TrainingModule.training_step

    def training_step(self, batch, batch_idx):
        images, labels = batch
        key = self.recipe.run
        batches.setdefault(key, []).append((labels.tolist(), images.sum().item()))
        return step(self, batch, batch_idx)

    words = ["--swap", f"attention=SSA,{ideas}:MyAttention", "--seeds", "2", "--jobs", "1", *CHANGES]
    words += ["--out", str(out), "--name", "ideas", "--json"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
        patch.setattr(TrainingModule, "training_step", training_step)
        patch.setattr("sys.argv", ["spikeformers", "compare", recipe_file, *words])
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(io.StringIO()) as told:
            cli.main(["compare", recipe_file, *words])
    return SimpleNamespace(
        status=left.value.code, out=printed.getvalue(), err=told.getvalue(), batches=batches, folder=out / "ideas"
    )


@pytest.fixture
def tiny(recipe_file, tmp_path, without_pictures):
    """Compares SSA and FrozenSSA at one seed, with other arguments where given."""

    def tiny(attention=("SSA", "FrozenSSA"), words=(), **settings):
        base = base_recipe(recipe_file, ["--out", str(tmp_path), *words])
        return compare(base, {"attention": attention}, **{"seeds": 1, "jobs": 1, "name": "tiny", **settings})

    return tiny


@pytest.fixture
def runs_fail(monkeypatch):
    """Has the runs whose names begin so fail with an error; the others train."""
    fit = train_all.fit

    def runs_fail(beginning, said, kind=ValueError):
        def failing(recipe, **how):
            if recipe.run.startswith(beginning):
                raise kind(said)
            return fit(recipe, **how)

        monkeypatch.setattr(train_all, "fit", failing)

    return runs_fail


# ---- one file and one command


def test_every_combination_and_seed_is_a_run_of_its_own(compared):
    assert compared.status == 0, compared.err
    runs = {path.name for path in compared.folder.iterdir() if path.is_dir()}
    assert runs == {f"{name}-seed{seed}" for name in ("SSA", "MyAttention") for seed in (0, 1)}
    assert all((compared.folder / run / "weights.safetensors").is_file() for run in runs)
    assert "MyAttention-seed1: done" in compared.err
    assert "4 of 4 runs done" in compared.err


def test_variants_of_a_seed_see_the_same_images_in_the_same_order_and_augmented_alike(compared):
    batches = compared.batches
    assert len(batches["SSA-seed0"]) == 8  # two epochs of four steps
    assert batches["SSA-seed0"] == batches["MyAttention-seed0"]
    assert batches["SSA-seed1"] == batches["MyAttention-seed1"] != batches["SSA-seed0"]


def test_the_test_set_is_read_once_at_the_end(compared):
    for run in ("SSA-seed0", "MyAttention-seed1"):
        assert "test_acc" not in (compared.folder / run / "metrics.csv").read_text()
        assert json.loads((compared.folder / run / "results.json").read_text())["best_on_test"] is None


def test_the_report_is_what_the_runs_left(compared):
    report = json.loads(compared.out)
    assert report == json.loads((compared.folder / "report.json").read_text())
    assert (report["first"], report["failed"]) == ("SSA", {})
    rows = {row["variant"]: row for row in report["rows"]}
    assert [*rows] == ["SSA", "MyAttention"]  # the first first
    for name, row in rows.items():
        tests = [json.loads((compared.folder / f"{name}-seed{k}" / "results.json").read_text()) for k in (0, 1)]
        first, second = (results["test"]["top1"] for results in tests)
        assert row["test"] == pytest.approx((first + second) / 2)
        assert row["test_spread"] == pytest.approx(abs(first - second) / 2**0.5)
        assert row["seeds"] == 2
        costs = [json.loads((compared.folder / f"{name}-seed{k}" / "cost.json").read_text()) for k in (0, 1)]
        energies = [cost["millijoules"]["strict"] for cost in costs]
        assert row["millijoules"] == pytest.approx(sum(energies) / 2)
        assert row["millijoules_spread"] == pytest.approx(statistics.stdev(energies))
        assert 0 < row["firing"] < 1
        assert min(row["ac"], row["mac"], row["train_images_per_second"], row["peak_mib"]) > 0
        assert row["eval_images_per_second"] > row["train_images_per_second"]
    assert rows["SSA"]["parameters"] > rows["MyAttention"]["parameters"]  # it has no q and k
    assert rows["SSA"]["ac"] > rows["MyAttention"]["ac"]
    assert rows["SSA"]["p"] is None
    assert rows["MyAttention"]["p"] == rows["MyAttention"]["p_holm"]  # the only comparison
    assert rows["SSA"]["model"] == {"attention": "SSA"}
    assert report["base"]["model.dim"] > 0
    assert rows["MyAttention"]["against_first"] == pytest.approx(rows["MyAttention"]["test"] - rows["SSA"]["test"])
    assert any("SSA" in note for note in report["notes"])


def report_of(compared):
    """The table in the report's Markdown, a dict per row."""
    lines = [
        line.strip("| ").split(" | ")
        for line in (compared.folder / "report.md").read_text().split("\n\n")[0].splitlines()
    ]
    return [dict(zip(lines[0], row, strict=True)) for row in lines[2:]]


def test_the_page_the_tables_and_the_picture(compared):
    page = (compared.folder / "index.html").read_text()
    report = json.loads(compared.out)
    for text in ("MyAttention", report["notes"][0], "data:image/svg+xml;base64", "read once", "training, images/s"):
        assert text in page
    assert "<td>SSA</td>" in page.partition("<td>MyAttention")[0]
    words = re.search(r'<p class="command"><code>(.*?)</code>', page)[1]
    assert "<span>--seeds 2</span>" in words and "<span>--epochs 2</span>" in words
    energy = next(head for head in report_of(compared)[0] if head.startswith("energy, "))
    assert all(" ± " in row[energy] for row in report_of(compared))
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)  # it needs nothing else
    with (compared.folder / "runs.csv").open(newline="") as table:
        runs = list(csv.DictReader(table))
    assert {(run["variant"], run["seed"]) for run in runs} == {(v, s) for v in ("SSA", "MyAttention") for s in "01"}
    with (compared.folder / "variants.csv").open(newline="") as table:
        assert {row["variant"] for row in csv.DictReader(table)} == {"SSA", "MyAttention"}
    assert "validation" in (compared.folder / "pareto.svg").read_text()
    text = (compared.folder / "report.md").read_text()
    assert text.startswith("| variant | parameters | validation accuracy, % | test accuracy, % |")
    assert report["notes"][0] in text


@needs_a_browser
def test_the_page_on_a_phone(compared, tmp_path):
    told = on_a_phone(compared.folder / "index.html", tmp_path)
    assert (told["told"], told["broken"], told["outside"]) == ([], 0, [])
    assert told["scroll"] <= told["width"] <= 360
    assert told["scrolls"] == 1  # the table, and not the page
    assert min(told["charts"]) >= 0.75
    options = [lines for words, lines in told["command"] if len(words) < 30]
    assert len(options) >= 4 and set(options) == {1}


def test_the_numbers_are_means_over_seeds_and_validation_ranks(compared, recipe_file, ideas, tmp_path):
    """The same comparison read again, with accuracies put in: nothing is trained."""
    folder = shutil.copytree(compared.folder, tmp_path / "ideas")
    accuracies = {  # validation, test
        "SSA-seed0": (80.0, 71.0), "SSA-seed1": (82.0, 73.0),
        "MyAttention-seed0": (85.0, 70.0), "MyAttention-seed1": (85.0, 71.0),
    }  # fmt: skip
    for run, (validation, test) in accuracies.items():
        results = json.loads((folder / run / "results.json").read_text())
        results["test"] |= {"top1": test, "images": 10_000}
        (folder / run / "results.json").write_text(json.dumps(results))
        with (folder / run / "metrics.csv").open(newline="") as table:
            rows = list(csv.DictReader(table))
        rows[results["epoch"] - 1]["val_acc"] = str(validation)
        with (folder / run / "metrics.csv").open("w", newline="") as table:
            writer = csv.DictWriter(table, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    base = base_recipe(recipe_file, ["--out", str(tmp_path), *CHANGES])
    report = compare(base, {"attention": ["SSA", f"{ideas}:MyAttention"]}, seeds=2, jobs=1, name="ideas")
    ssa, mine = report.rows
    assert (mine.variant, mine.validation, mine.test, mine.validation_spread) == ("MyAttention", 85.0, 70.5, 0.0)
    assert (ssa.validation, ssa.test) == (81.0, 72.0)
    assert ssa.test_spread == pytest.approx(2**0.5)
    assert mine.against_first == -1.5
    assert report.notes[0].startswith("2 seeds cannot detect a difference of 1.50 points here; about ")
    assert not mine.more_than_chance and not ssa.on_front


# ---- what is done is not done again


def test_what_is_done_is_skipped_and_a_seed_is_added(tiny, monkeypatch):
    tiny()
    trained = []
    fit = train_all.fit

    def noting(recipe, **how):
        trained.append(recipe.run)
        return fit(recipe, **how)

    monkeypatch.setattr(train_all, "fit", noting)
    report = tiny(seeds=2)
    assert trained == ["SSA-seed1", "FrozenSSA-seed1"]
    assert [row.seeds for row in report.rows] == [2, 2]
    tiny(seeds=2)
    assert len(trained) == 2


def test_an_interrupted_comparison_goes_on_and_ends_as_if_it_had_not_been(tiny, compared, monkeypatch, ideas):
    """Ctrl-C in the second step of the third run; SSA and MyAttention at two seeds were compared without one."""
    step = TrainingModule.training_step

    def training_step(self, batch, batch_idx):
        if self.recipe.run == "SSA-seed1" and (self.current_epoch, batch_idx) == (1, 1):
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    both = ("SSA", f"{ideas}:MyAttention")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", training_step)
        with pytest.raises(KeyboardInterrupt, match="the same command continues"):
            tiny(both, CHANGES, seeds=2)
    report = tiny(both, CHANGES, seeds=2)
    assert (report.folder / "SSA-seed1" / "results.json").is_file()
    for run in ("SSA-seed0", "SSA-seed1", "MyAttention-seed1"):
        results = [
            json.loads((folder / run / "results.json").read_text()) for folder in (report.folder, compared.folder)
        ]
        assert results[0] == results[1]


def test_two_at_once_come_to_what_one_after_the_other_does(recipe_file, tmp_path, compared, ideas):
    base = base_recipe(recipe_file, ["--out", str(tmp_path), *CHANGES])
    report = compare(base, {"attention": ["SSA", f"{ideas}:MyAttention"]}, seeds=1, jobs=2, name="two")
    assert report.failed == {}
    for run in ("SSA-seed0", "MyAttention-seed0"):
        one, other = (json.loads((f / run / "results.json").read_text()) for f in (report.folder, compared.folder))
        assert one == other


def test_a_run_that_fails_does_not_stop_the_others(tiny, runs_fail, tmp_path):
    runs_fail("SSA-seed1", "the loss is nan at epoch 1, step 2")
    assert tiny(seeds=2).failed == {"SSA-seed1": "the loss is nan at epoch 1, step 2"}
    report = json.loads((tmp_path / "tiny" / "report.json").read_text())
    assert {row["variant"]: row["seeds"] for row in report["rows"]} == {"SSA": 1, "FrozenSSA": 2}
    assert "the loss is nan" in (tmp_path / "tiny" / "index.html").read_text()


def test_a_run_that_fails_unforeseen_does_not_stop_the_others_either(tiny, runs_fail, tmp_path):
    runs_fail("SSA-seed0", "DataLoader worker (pid 7)\nis killed", RuntimeError)
    report = tiny()
    assert report.failed == {"SSA-seed0": "RuntimeError: DataLoader worker (pid 7) is killed"}
    assert [row.variant for row in report.rows] == ["FrozenSSA"]
    assert "Traceback" in (tmp_path / "tiny" / "SSA-seed0-error.txt").read_text()


def test_a_file_that_has_changed_is_not_gone_on_with(tiny, ideas, tmp_path):
    file = shutil.copy(ideas, tmp_path / "mine.py")
    tiny(("SSA", f"{file}:MyAttention"))
    with file.open("a") as text:
        text.write("# another thought\n")
    with pytest.raises(ValueError, match=r"mine.py has changed since .*MyAttention-seed0 began, .* --name NAME$"):
        tiny(("SSA", f"{file}:MyAttention"), seeds=2)


def test_two_comparisons_in_one_folder_do_not_mix(tiny, tmp_path):
    (tmp_path / "tiny").mkdir()
    with (
        FileLock(tmp_path / "tiny" / ".lock"),
        pytest.raises(ValueError, match=r"another comparison is running in .*tiny: wait for it"),
    ):
        tiny()


def test_a_part_that_fails_in_training_is_told_with_its_place_and_the_others_go_on(tiny, tmp_path):
    file = own_part(tmp_path, FAILS_LATE)
    report = tiny(("SSA", f"{file}:Mine"))
    (why,) = report.failed.values()
    assert re.fullmatch(r".*mine.py, line \d+: RuntimeError: that is too much", why)
    assert "Traceback" in (tmp_path / "tiny" / "Mine-seed0-error.txt").read_text()
    assert [row.variant for row in report.rows] == ["SSA"]


def test_the_first_is_never_another(tiny, runs_fail):
    runs_fail("SSA", "the loss is nan")
    report = tiny(("SSA", "FrozenSSA", "QKTA"))
    assert report.first == "SSA"
    assert "SSA, the first variant, failed with all its seeds: nothing can be compared with it." in report.notes
    assert not any("above" in note or "below" in note for note in report.notes)
    assert all(row["against first"] == "" for row in report.table())


def test_the_command_tells_a_failure_after_what_came_out(recipe_file, tmp_path, runs_fail, capsys):
    runs_fail("FrozenSSA-seed0", "weights [batch, dim] and keys [/blocks.0] do not fit")
    words = ["--swap", "attention=SSA,FrozenSSA", "--seeds", "1", "--jobs", "1", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as left:
        cli.main(["compare", recipe_file, *words])
    said = capsys.readouterr()
    assert left.value.code == 2
    assert re.search(r"^ *SSA ", said.out, re.MULTILINE)
    assert said.err.count("weights [batch, dim] and keys [/blocks.0] do not fit") == 2  # as it ended, and at the end
    assert said.err.splitlines()[-1].startswith("spikeformers: 1 of 2 runs failed, the first of them FrozenSSA-seed0: ")


def test_a_dry_run_says_what_would_be_trained(recipe_file, tmp_path, capsys):
    words = ["--swap", "attention=SSA,IdentityMixer", "--even", "mlp_ratio", "--seeds", "2", "--dry-run"]
    with pytest.raises(SystemExit) as left:
        cli.main(["compare", recipe_file, "--epochs", "3", "--out", str(tmp_path), *words])
    said = capsys.readouterr().out
    assert left.value.code == 0
    (ssa,) = (line.split() for line in said.splitlines() if line.split()[:1] == ["SSA"])
    (identity,) = (line.split() for line in said.splitlines() if line.split()[:1] == ["IdentityMixer"])
    assert (ssa[1], ssa[3:5], ssa[-1]) == ("2", ["3", "12"], "2")  # the ratio; epochs and steps; seeds
    assert float(identity[1]) > 2
    assert "4 runs, 0 of them finished" in said
    with pytest.raises(SystemExit):
        cli.main(["compare", recipe_file, "--epochs", "3", "--out", str(tmp_path), *words, "--json"])
    plan = json.loads(capsys.readouterr().out)
    assert [row["variant"] for row in plan["variants"]] == ["SSA", "IdentityMixer"] and plan["minutes"] > 0
    assert [run["finished"] for run in plan["runs"]] == [False] * 4
    assert not list(tmp_path.iterdir())


# ---- refused before any training

FAILS_LATE = """
    calls = 0

    class Mine(MyAttention):
        def forward(self, x):
            global calls
            calls += self.training and x.shape[1] == 12  # a batch of training
            if calls > 10:  # eight while its price is measured
                raise RuntimeError("that is too much")
            return super().forward(x)
"""


def own_part(folder, source):
    """A file of a reader's own whose part is `Mine`."""
    file = folder / "mine.py"
    file.write_text(textwrap.dedent(IDEA) + textwrap.dedent(source))
    return file


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class Mine(MyAttention)\n    pass", r"mine.py, line \d+: SyntaxError: expected ':'"),
        ("class Mine(Attention):\n    pass", r"mine.py, line \d+: NameError: name 'Attention' is not defined"),
        (
            "class Mine(MyAttention):\n    def __init__(self, dim, num_heads, neuron):\n"
            "        super().__init__(dim, num_heads, neuron)",
            r"mine.py: TypeError: .*unexpected keyword argument 'bias'",
        ),
        (
            "class Mine(MyAttention):\n    def forward(self, x):\n        return self.projj(x)",
            r"mine.py, line \d+: AttributeError: 'Mine' object has no attribute 'projj'",
        ),
        (
            "class Mine(MyAttention):\n    def forward(self, x):\n        return x.view(7)",
            r"mine.py, line \d+: RuntimeError: ",
        ),
        ("Mine = 3", r"attention .*mine.py:Mine is 3, not a class or function"),
        (
            "class Mine(MyAttention):\n    def forward(self, x):\n        s = self.v_neuron(self.v(x)).sigmoid()\n"
            "        y = self.proj(s)\n        s.detach().add_(1)\n        return y",
            r"Mine: .*mine.py.*RuntimeError: .*modified by an inplace operation",
        ),
    ],
    ids=("syntax", "name", "argument", "attribute", "sizes", "no-class", "backward"),
)
def test_what_is_wrong_in_a_readers_part_is_told_with_its_place(tiny, tmp_path, source, said):
    file = own_part(tmp_path, source)
    with pytest.raises(ValueError, match=said) as error:
        tiny(("SSA", f"{file}:Mine"))
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["mine.py"]


def test_state_that_is_kept_in_training_only_is_found(tiny, tmp_path):
    source = """
        class Mine(MyAttention):
            last = 0.0

            def forward(self, x):
                self.last += self.training
                return super().forward(x) + self.last
    """
    file = own_part(tmp_path, source)
    with pytest.raises(ValueError, match="keeps no state between calls: in training, the same input twice gave two"):
        tiny(("SSA", f"{file}:Mine"))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("LookingAhead", r"^LookingAhead: LookingAhead \(blocks.0.attn.core\) .* looks ahead in time only where"),
        ("Remembering", r"^Remembering: Remembering \(blocks.0.attn.core\) .* same"),
    ],
)
def test_a_part_that_breaks_its_contract_is_named_with_it(tiny, ideas, tmp_path, part, said):
    with pytest.raises(ValueError, match=said) as error:
        tiny(("SSA", f"{ideas}:{part}"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"attention": ["SSA"]}, "there is only one combination"),
        ({"attention": ["SSA", "SSA"]}, 'swap attention has "SSA" twice'),
        ({"attention": ["SSA", "SSAA"]}, "SSAA: there is no attention 'SSAA': did you mean"),
        ({"seeds": 0}, "seeds 0 must be a number above 0"),
        ({"seeds": [1, 1]}, "or a list without repetition"),
        ({"jobs": 0}, "jobs 0 is below 1"),
        ({"words": ["--data.validation", "0"]}, "no validation images to select epochs by"),
        ({"words": ["--batch_size", "500"]}, "SSA: .* fewer than batch_size 500"),
        ({"words": ["--trainer.limit_train_batches", "0.01"]}, "leaves no step of training: raise what limits it"),
        (
            {"words": ["--trainer.check_val_every_n_epoch", "2"]},
            r"SSA: trainer\.check_val_every_n_epoch 2 may leave 1 epochs without validation, .*: leave it out",
        ),
        ({"attention": ["SSA", "IdentityMixer"], "even": "num_heads"}, "num_heads does not change the parameters of"),
        ({"even": "attention"}, "attention of FrozenSSA is 'FrozenSSA': give --even a number|attention is swapped"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(tiny, tmp_path, settings, said):
    before = set(tmp_path.iterdir())
    with pytest.raises(ValueError, match=said) as error:
        tiny(**settings)
    assert "\n" not in str(error.value)
    assert set(tmp_path.iterdir()) == before


def test_a_comparison_of_other_settings_is_not_gone_on_with(tiny):
    tiny()
    with pytest.raises(ValueError, match=r"optimizer.lr is 0.5, but .*SSA-seed0 began with 0.01"):
        tiny(words=["--optimizer.lr", "0.5"])
    with pytest.raises(ValueError, match=r"trainer.limit_train_batches is 2, but .* began with None"):
        tiny(words=["--trainer.limit_train_batches", "2"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "compare has nothing to swap"),
        (["--swap", "attention"], "swap 'attention' is not written as slot=A,B"),
        (["--swap"], "--swap has no value"),
        (["--swap", "neuron=LIF,PLIF", "--swap", "neuron=IF"], "names an argument twice"),
        (["--swap", "neuron=LIF,PLIF", "--epochs", "2", "--minutes", "3"], "cannot be combined: give one"),
        (["--swap", "neuron=LIF,PLIF", "--minutes", "much"], "--minutes must be a number, not 'much'"),
        (["--swap", "neuron=LIF,PLIF", "--seeds", "x"], "such as 0,1,5, not 'x'"),
        (["--swap", "neuron=LIF,PLIF", "--seeds", "²"], "such as 0,1,5, not '²'"),
        (["--swap", "neuron=LIF,PLIF", "--jobs", "1.5"], "--jobs must be an integer, not '1.5'"),
        (["--swap", "neuron=LIF,PLIF", "--jobs", "inf"], "--jobs must be an integer, not 'inf'"),
        (["--swap", "neuron=LIF,"], "has the value ''"),
        (["--swap", "dim=2020-01-01,16"], "has the value '2020-01-01'"),
        (["--swap", "neuron=LIF,PLIF", "--epoch", "3"], "there is no setting 'epoch': did you mean epochs"),
    ],
)
def test_words_that_are_no_comparison(recipe_file, capsys, words, said):
    with pytest.raises(SystemExit) as left:
        cli.main(["compare", recipe_file, *words])
    (line,) = capsys.readouterr().err.splitlines()
    assert left.value.code == 2
    assert said in line


def test_a_word_that_is_neither_model_nor_recipe():
    with pytest.raises(
        ValueError, match=r"'spikformer_4_25' is not a recipe either.*: there is no model .* did you mean"
    ):
        base_recipe("spikformer_4_25")
    with pytest.raises(ValueError, match=r"'digit' is not a recipe either \(did you mean digits\?\)"):
        base_recipe("digit")


# ---- the settings it starts from


def test_a_model_takes_the_recipe_of_its_data_and_family_in_proportion(caplog):
    with caplog.at_level(logging.WARNING, "spikeformers"):
        recipe = base_recipe("spikformer_4_256_cifar10", ["--data", "cifar10", "--epochs", "20"])
    assert caplog.messages == ["using the training settings of the recipe spikformer_cifar10"]
    assert recipe.model == {"name": "spikformer_4_256_cifar10", "time_steps": 4}
    assert (recipe.optimizer.lr, recipe.augment.mixup, recipe.run) == (5e-4, 0.5, "spikformer_4_256_cifar10")
    schedule = recipe.schedule  # 20 epochs of 300: warm-up 20, cool-down 10, mixing until 200
    assert (recipe.epochs, schedule.warmup_epochs, schedule.cooldown_epochs) == (20, 1, 1)
    assert recipe.augment.mix_off_epoch == 13


def test_lengths_that_are_asked_for_stay():
    recipe = base_recipe("spikformer_cifar10", ["--epochs=30", "--schedule.warmup_epochs", "20"])
    assert (recipe.schedule.warmup_epochs, recipe.schedule.cooldown_epochs) == (20, 1)


def test_a_model_for_data_of_no_recipe_takes_the_defaults(images):
    recipe = base_recipe("spikformer_2_384_cifar10", ["--data", str(images)])
    assert recipe.data.name == str(images)
    assert Path(recipe.out) / str(recipe.run) == Path("runs/spikformer_2_384_cifar10")
