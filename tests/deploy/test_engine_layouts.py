"""Operations that are told how their result lies in memory."""

import pytest
import torch
from tiny_models import build

from spikeformers.deploy import load_engine, spike_engine
from spikeformers.deploy.engine.graph import decode, encode
from spikeformers.layers.mlp import MLP

SAID = {
    "contiguous": lambda s: s.contiguous(memory_format=torch.channels_last),
    "clone": lambda s: s.clone(memory_format=torch.contiguous_format),
    "to": lambda s: s.to(memory_format=torch.channels_last),
    "zeros_like": lambda s: s + torch.zeros_like(s, memory_format=torch.channels_last),
    "ones_like": lambda s: s * torch.ones_like(s, layout=torch.strided, memory_format=torch.preserve_format),
    "zeros": lambda s: s + torch.zeros(s.shape[-1], layout=torch.strided),
}


@pytest.mark.parametrize("what", SAID)
def test_an_engine_with_one_is_saved_and_read(what, tmp_path, lively):
    class Laid(MLP):
        def forward(self, x):
            spikes = self.neuron(self.fc1(x))
            return self.fc2(SAID[what](spikes.flatten(0, 1)).unflatten(0, spikes.shape[:2]))

    torch.manual_seed(0)
    model = build("spikformer", depth=1, mlp=Laid)
    x = torch.randn(2, model.in_channels, model.image_size, model.image_size)
    model = lively(model, x)
    engine = spike_engine(model, x)
    torch.testing.assert_close(engine(x), model(x), rtol=1e-3, atol=1e-3)
    again = load_engine(engine.save(tmp_path / "engine.safetensors"))
    arguments = [value for node in again.nodes for value in node.kwargs.values()]
    assert any(isinstance(value, (torch.memory_format, torch.layout)) for value in arguments)
    assert [node.kwargs for node in again.nodes] == [node.kwargs for node in engine.nodes]
    assert torch.equal(again(x), engine(x))


@pytest.mark.parametrize(
    "value",
    [torch.channels_last, torch.channels_last_3d, torch.contiguous_format, torch.preserve_format, torch.strided,
     torch.sparse_coo, torch.bfloat16, torch.bool],
)  # fmt: skip
def test_an_argument_by_name_is_read_as_it_was_written(value):
    assert decode(encode({"given": [value, 1]})) == {"given": [value, 1]}
