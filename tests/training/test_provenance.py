"""What a run says of how it was made, and running it again."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors.torch import load_file

from spikeformers import cli
from spikeformers.training import fit, read_recipe
from spikeformers.training.provenance import COMPARISON, describe_start, like, note_start


def test_a_run_folder_says_how_it_was_made(finished):
    (start,) = json.loads((finished.run / "provenance.json").read_text())
    assert start["seed"] == 0
    assert start["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert start["python"] == sys.version.split()[0]
    assert set(start["git"]) == {"here", "spikeformers"}


def test_a_broken_package_is_passed_over(recipe_file, tmp_path, monkeypatch):
    found = [SimpleNamespace(name=None, version="1"), SimpleNamespace(name="Whole", version="2")]
    monkeypatch.setattr("spikeformers.training.provenance.distributions", lambda: found)
    assert describe_start(like_file(recipe_file, tmp_path))["packages"] == {"whole": "2"}


def test_commits_are_told(tmp_path, recipe_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = like_file(recipe_file, tmp_path)
    assert describe_start(recipe)["git"]["here"] is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run(["git", *identity, *words], check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert describe_start(recipe)["git"]["here"] == commit
    (tmp_path / "settings.yaml").write_text("changed: 1\n")
    assert describe_start(recipe)["git"]["here"] == commit + "+"


def like_file(recipe_file, folder):
    (folder / "settings.yaml").write_text(Path(recipe_file).read_text())
    return like(folder)


def test_a_run_again_is_the_run(train, tmp_path, caplog):
    run = train(epochs=2, augment={"mixup": 0.5}).run
    again = fit(like(run))
    assert again.run == tmp_path / "run-again"
    assert "was" not in caplog.text
    ours, theirs = load_file(run / "weights.safetensors"), load_file(again.weights)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_other_versions_and_commits_are_said(train, caplog):
    run = train(trainer={"limit_train_batches": 1}).run
    file = run / "provenance.json"
    (start,) = json.loads(file.read_text())
    start["packages"]["torch"], start["git"]["here"] = "2.0.0", "abc"
    file.write_text(json.dumps([start]))
    recipe = like(run, {"seed": 3, "run": "other"})
    assert (recipe.seed, recipe.run, recipe.batch_size) == (3, "other", 12)
    assert f"torch was 2.0.0 then and is {torch.__version__.partition('+')[0]}" in caplog.text
    assert "the git commit of here was abc then and is" in caplog.text


def test_the_command(train, tmp_path, capsys):
    run = train(trainer={"limit_train_batches": 1}).run
    with pytest.raises(SystemExit) as end:
        cli.main(["train", "--like", str(run), "--run", "twin"])
    assert end.value.code == 0
    assert (tmp_path / "twin" / "weights.safetensors").is_file()
    with pytest.raises(SystemExit) as end:
        cli.main(["train", "--like", str(tmp_path / "nowhere")])
    assert end.value.code == 2
    assert "nowhere is not a run folder: it has no settings.yaml" in capsys.readouterr().err


def test_files_of_a_readers_own_are_told_apart(train, tmp_path, caplog):
    file = tmp_path / "mine.py"
    file.write_text("from spikeformers.layers.attention import SSA\n\n\nclass Mine(SSA):\n    pass\n")
    words = {"model": {"attention": f"{file}:Mine"}, "trainer": {"limit_train_batches": 1}}
    run = train(**words).run
    (start,) = json.loads((run / "provenance.json").read_text())
    assert list(start["files"]) == [str(file)]
    with file.open("a") as text:
        text.write("# another thought\n")
    train(**words, resume=True)
    assert f"{file} has changed since {run} was last started" in caplog.text
    with file.open("a") as text:
        text.write("# and another\n")
    like(run)
    assert f"{file} was " in caplog.text


def test_a_changed_file_is_told_before_it_is_imported(recipe_file, tmp_path, caplog, monkeypatch):
    """Only an import tells where the module of a part named `package.module:Name` lies, but the run's record does."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "my_attentions.py"
    file.write_text("from spikeformers.layers.attention import SSA\n\n\nclass Mine(SSA):\n    pass\n")
    recipe = read_recipe(recipe_file, {"model.attention": "my_attentions:Mine"})
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(recipe.to_dict()))
    importlib.import_module("my_attentions")
    note_start(tmp_path, recipe, "the digest of its data")
    del sys.modules["my_attentions"]  # as in the next process
    like(tmp_path)
    assert "my_attentions" not in caplog.text
    file.write_text("# another thought\n")
    like(tmp_path)
    assert f"{file} was " in caplog.text and "my_attentions" not in sys.modules


def test_a_run_of_a_comparison_again_goes_beside_it(train, tmp_path):
    """Its own folder is the comparison's, whose files it would mix with."""
    folder = tmp_path / "compare-x"
    trainer = {"enable_progress_bar": False, "limit_train_batches": 1}
    run = train("SSA-seed0", out=str(folder), trainer=trainer).run
    assert like(run).out == str(folder)
    (folder / COMPARISON).write_text("{}")
    again = like(run)
    assert (again.out, again.run) == (str(tmp_path), "SSA-seed0-again")
    assert again.trainer == {"limit_train_batches": 1}  # and it is not silent
    assert like(run, {"out": str(tmp_path / "else")}).out == str(tmp_path / "else")
