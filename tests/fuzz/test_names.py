"""Names of files, folders and classes in every script, with markup, quotes, breaks, spaces, given to the commands."""

import shutil

import pytest
from fuzz_inputs import names
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from tiny_runs import write_images

from spikeformers.cli._terminal import printable


@pytest.fixture
def red(ask, tmp_path, knows_pictures):
    """What the model says of a red picture, in JSON and as a line of the table."""
    Image.new("RGB", (16, 16), "red").save(tmp_path / "red.png")
    (row,) = ask("predict", knows_pictures, "red.png", "--json").answer
    (line,) = (line for line in ask("predict", knows_pictures, "red.png").out.splitlines() if "red.png" in line)
    return row["top"], line.replace("red.png", "").split()


@pytest.mark.quick(20)
def test_predict(tries, ask, tmp_path, knows_pictures, red):
    @tries
    @given(folder=names(), name=names())
    def check(folder, name):
        file = tmp_path / "named" / folder / f"{name}.png"
        file.parent.mkdir(parents=True)
        shutil.copy(tmp_path / "red.png", file)
        try:
            (row,) = ask("predict", knows_pictures, file, "--json").answer
            assert row == {"file": str(file), "top": red[0]}
            shown = printable(str(file)).rstrip()
            (line,) = (line for line in ask("predict", knows_pictures, file).out.split("\n") if shown in line)
            assert line.replace(shown, "").split() == red[1]
            ran = ask("predict", knows_pictures, tmp_path / "named", "--json")
            if folder.startswith(".") or name.startswith("."):  # a folder's hidden files are skipped
                assert "holds no image" in ran.err
            else:
                assert ran.answer == [{"file": str(file), "top": red[0]}]
        finally:
            shutil.rmtree(tmp_path / "named")

    check()


@pytest.mark.quick(20)
def test_nothing_of_that_name(tries, ask, tmp_path, knows_pictures):
    """Every word of every command may be anything; what is not there is named."""
    commands = {
        "list": 1, "info": 1, "recipes": 1, "train": 1, "eval": 1, "predict": 2, "identify": 1, "bench": 1,
        "analyze": 1, "compare-energy": 1, "compare": 1,
    }  # fmt: skip

    @tries
    @given(
        command=st.sampled_from(list(commands)), words=st.lists(names() | st.text(max_size=5), min_size=2, max_size=2)
    )
    def check(command, words):
        assume(command != "bench" and not {"-h", "--help", "*", "?"} & {*words})
        ask(command, *words[: commands[command]])

    check()


@pytest.mark.quick(3)
def test_train_and_eval(tries, ask, tmp_path, recipe_file, without_pictures):
    """Classes and runs of any name: the run is made, and what `eval` says of it is what `train` said."""

    @tries
    @given(classes=st.lists(names(), min_size=2, max_size=2, unique_by=str.lower), run=names(), data=names())
    def check(classes, run, data):
        assume(run.lower() not in ("~", "null"))  # YAML's words for the recipe's own name
        folder = tmp_path / "sets" / data
        write_images(folder, classes, train=5, test=2, size=8)
        try:
            words = ("train", recipe_file, "--data", folder, "--run", run, "--model.image_size=8", "--batch_size=4")
            trained = ask(*words, "--data.validation=0")
            if trained.status == 2:
                odd = any(name.startswith((".", "-")) or not name.strip() for name in (run, data, *classes))
                assert odd or "/" in run, trained
                return
            measured = ask("eval", tmp_path / "runs" / run)
            told = measured.out.partition("top-1 ")[2].partition(",")[0]
            seen = 2 * sum(not name.startswith(".") for name in classes)  # hidden folders are no classes
            assert f"test accuracy {told} on {seen} images" in trained.out
            assert trained.out.count("\n") <= 12
        finally:
            shutil.rmtree(tmp_path / "sets")
            shutil.rmtree(tmp_path / "runs", ignore_errors=True)

    check()
