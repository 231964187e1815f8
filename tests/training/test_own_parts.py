"""A reader's own model and part, in a file that is not ours: `--model my_ideas.py:my_former`."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import spikeformers as sf
from spikeformers import cli
from spikeformers.checkpoints.made_here import made_here
from spikeformers.training import fit

IDEAS = """
    import torch
    from torch import nn

    from spikeformers.layers.block import block
    from spikeformers.layers.conv import ConvNorm
    from spikeformers.layers.head import Head
    from spikeformers.layers.mlp import MLP
    from spikeformers.layers.shortcut import SEWShortcut
    from spikeformers.layers.stem import SPS
    from spikeformers.models import SpikingTransformer
    from spikeformers.neurons import LIF


    class MyAttention(nn.Module):
        def __init__(self, dim, num_heads, neuron, *, bias=False):
            super().__init__()
            self.v, self.v_neuron, self.proj = ConvNorm(dim, dim, bias=bias), neuron(), ConvNorm(dim, dim)

        def forward(self, x):
            return self.proj(self.v_neuron(self.v(x)))


    class LookingAhead(MyAttention):
        def forward(self, x):
            return super().forward(x).flip(0)


    def my_former(
        *, dim: int = 16, in_channels: int = 3, num_classes: int = 10, image_size: int = 16, time_steps: int = 2,
        neuron=LIF, attention=MyAttention,
    ) -> SpikingTransformer:
        blocks = [block(SEWShortcut, neuron, attn=attention(dim, 2, neuron), mlp=MLP(dim, dim, neuron))]
        return SpikingTransformer(
            stem=SPS(in_channels, dim, neuron, (2, 2)), blocks=blocks, head=Head(dim, num_classes, neuron),
            time_steps=time_steps, image_size=image_size,
        )
"""


@pytest.fixture
def ideas(tmp_path, monkeypatch):
    (tmp_path / "my_ideas.py").write_text(textwrap.dedent(IDEAS))
    monkeypatch.chdir(tmp_path)
    return "my_ideas.py"


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "my_ideas.py:my_former"],
        ["--model", "my_ideas.py:my_former", "--model.attention", "SSA", "--model.neuron", "PSN"],
        ["--model.attention", "my_ideas.py:MyAttention"],
    ],
)
def test_from_a_command_line(ideas, recipe_file, tmp_path, without_pictures, capsys, words):
    with pytest.raises(SystemExit) as left:
        cli.main(["train", recipe_file, *words, "--out", str(tmp_path), "--run", "mine"])
    printed = capsys.readouterr()
    assert left.value.code == 0, printed.err
    assert "test accuracy" in printed.out
    settings = (tmp_path / "mine" / "settings.yaml").read_text()
    assert all(word in settings for word in words if "my_ideas" in word)


@pytest.fixture(scope="module")
def own_run(recipe_file, tmp_path_factory):
    """A run whose attention is a reader's own, and the folder that it was trained in."""
    here = tmp_path_factory.mktemp("own")
    (here / "my_ideas.py").write_text(textwrap.dedent(IDEAS))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        fit(recipe_file, model={"attention": "my_ideas.py:MyAttention"}, out="runs", run="mine")
    return here


def commands(run, report):
    image = next((run / "samples").iterdir())
    return (["eval", run], ["predict", run, image], ["predict", run / "checkpoints" / "last.ckpt", image],
            ["analyze", run, "--out", report, "--images", "2"], ["compare-energy", run, "--images", "2"])  # fmt: skip


def answered(words, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([*map(str, words)])
    return left.value.code, capsys.readouterr().err


def others(run):
    """Further commands that build a run's model."""
    image = next((run / "samples").iterdir())
    return (["export", run, "--noise"], ["audit", run], ["watch", image, "--model", run, "--no-page", "--fps", "1000"],
            ["serve", run])  # fmt: skip


def test_what_is_told_to_try_next_works(own_run, monkeypatch, tmp_path, capsys, caplog):
    monkeypatch.chdir(own_run)
    built = []
    with monkeypatch.context() as patch:  # what takes long, or for ever, begins with this
        patch.setattr("spikeformers.deploy.exporting.export", lambda model, *_, **__: built.append(model) or "written")
        patch.setattr("spikeformers.analysis.audit_model", lambda model, *_, **__: built.append(model) or sys.exit(0))
        patch.setattr("spikeformers.cli.serve._listen", lambda *_: sys.exit(0))
        for words in (*commands(Path("runs/mine"), tmp_path / "report"), *others(Path("runs/mine"))):
            assert answered(words, capsys) == (0, ""), words
    assert [type(model.blocks[0].attn.core).__name__ for model in built] == ["MyAttention"] * 2
    assert "has changed" not in caplog.text
    own = own_run / "my_ideas.py"
    text = own.read_text()
    try:
        own.write_text(text + "# another thought\n")
        assert answered(["eval", "runs/mine"], capsys)[0] == 0
        assert "my_ideas.py has changed since" in caplog.text
        own.unlink()
        monkeypatch.delitem(sys.modules, f"file:{own}")  # as in another process
        code, said = answered(["eval", "runs/mine"], capsys)
        assert (code, len(said.splitlines())) == (2, 1) and "there is no file" in said
    finally:
        own.write_text(text)


def test_runs_of_others_are_refused(own_run, monkeypatch, tmp_path, capsys):
    """A folder that was copied, unpacked or downloaded may say anything, and one without a run is none."""
    monkeypatch.chdir(own_run)
    copied = Path(shutil.copytree("runs/mine", tmp_path / "copied"))
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy("runs/mine/weights.safetensors", bare)
    for words in (*commands(copied, tmp_path / "report"), *others(copied), ["eval", bare]):
        code, said = answered(words, capsys)
        assert (code, len(said.splitlines())) == (2, 1)
        assert "is not a part of spikeformers: if you trust it, pass it as attention=" in said
    with pytest.raises(ValueError, match="is not a part of spikeformers"):
        sf.from_pretrained("runs/mine")  # in Python they are passed in
    assert made_here("runs/mine") and made_here("runs/mine/checkpoints/last.ckpt") and not made_here(copied)
    Path("runs/mine").rename("runs/renamed")
    try:
        assert made_here("runs/renamed")
    finally:
        Path("runs/renamed").rename("runs/mine")


def test_an_own_run_teaches(own_run, monkeypatch, recipe_file, tmp_path, without_pictures):
    monkeypatch.chdir(own_run)
    limits = {"limit_train_batches": 1}
    assert fit(recipe_file, distill={"teacher": "runs/mine"}, trainer=limits, out=str(tmp_path), run="taught").test


SCRIPT = """
    import sys
    from spikeformers.layers.attention import SSA
    from spikeformers.training import fit

    print("begun", flush=True)


    class Mine(SSA):
        pass


    result = fit(sys.argv[1], model={"attention": Mine}, out=sys.argv[2], run="script")
    print(type(result).__name__, flush=True)
"""


def test_a_script_with_a_class_of_its_own_runs_once(recipe_file, tmp_path):
    """No `if __name__ == "__main__"`: the class is that of the script that runs, which is not imported again."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    run = subprocess.run(
        [sys.executable, "script.py", recipe_file, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = [line for line in run.stdout.splitlines() if not line.startswith("epoch ")]
    assert lines == ["begun", "Result"]
    assert "script.py:Mine" in (tmp_path / "script" / "settings.yaml").read_text()


SPAWNING = """
    import multiprocessing
    from spikeformers.layers.attention import SSA
    from spikeformers.models.parts import describe_part, find_part

    print("imported", flush=True)


    class Mine(SSA):
        pass


    def names(part):
        return describe_part("attention", part), find_part("attention", describe_part("attention", part)) is Mine


    if __name__ == "__main__":
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(names(Mine), pool.apply(names, (Mine,)), flush=True)
"""


def test_a_script_that_spawns_processes(tmp_path):
    """In a spawned process the script is another module, and its classes are the same by name."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SPAWNING))
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    *imported, last = run.stdout.splitlines()
    assert imported == ["imported", "imported"]  # once in each process
    assert last == f"{(f'{script}:Mine', True)} {(f'{script}:Mine', True)}"


def test_a_breach_is_told_before_anything_is_written(ideas, recipe_file, tmp_path):
    with pytest.raises(ValueError, match=r"LookingAhead \(blocks.0.attn.core\) .* looks ahead in time only where"):
        fit(recipe_file, model={"attention": f"{ideas}:LookingAhead"}, out=str(tmp_path), run="mine")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(("code", "said"), [
    ("MyLIF = undefined", "my_lif:MyLIF cannot be loaded: NameError: name 'undefined' is not defined"),
    ("def MyLIF(:", "my_lif:MyLIF cannot be loaded: SyntaxError: invalid syntax"),
    ("class MyLIF:\n    def __init__(self):\n        raise KeyError(7)", "my_lif.py, line 3: KeyError: 7"),
])  # fmt: skip
def test_errors_of_a_module_get_one_line(tmp_path, recipe_file, monkeypatch, code, said):
    (tmp_path / "my_lif.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_lif", raising=False)
    with pytest.raises(ValueError, match=re.escape(said)):
        fit(recipe_file, model={"neuron": "my_lif:MyLIF"}, out=str(tmp_path), run="mine")
    sys.modules.pop("my_lif", None)
