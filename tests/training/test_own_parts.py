"""A reader's own model and part, in a file that is not ours: `--model my_ideas.py:my_former`."""

import textwrap

import pytest

from spikeformers import cli
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


def test_a_breach_is_told_before_anything_is_written(ideas, recipe_file, tmp_path):
    with pytest.raises(ValueError, match=r"LookingAhead \(blocks.0.attn.core\) .* looks ahead in time only where"):
        fit(recipe_file, model={"attention": f"{ideas}:LookingAhead"}, out=str(tmp_path), run="mine")
    assert not (tmp_path / "mine").exists()
