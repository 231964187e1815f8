"""What the golden cases of Spikingformer and of the CML stem leave open."""

import pytest
import torch

import spikeformers as sf
from spikeformers.checkpoints.keys import translate
from spikeformers.layers.stem import CMLSPS, SPS
from spikeformers.models.registry import find_family
from spikeformers.neurons import LIF

TAUS = {"spikingformer_2_256_": 1.5, "spikingformer_cml_2_256_": 1.75}  # on events; 2 elsewhere


@pytest.mark.parametrize("name", sf.list_models("spikingformer") + sf.list_models("spikformer_cml"))
def test_stem_time_constant_and_thresholds(name):
    with torch.device("meta"):
        model = sf.create_model(name)
    neurons = {path: module for path, module in model.named_modules() if isinstance(module, LIF)}
    tau = next((tau for start, tau in TAUS.items() if name.startswith(start)), 2.0)
    assert isinstance(model.stem, CMLSPS if "_cml_" in name else SPS)
    assert {neuron.tau for neuron in neurons.values()} == {tau}
    assert {path for path, n in neurons.items() if n.v_threshold != 1} == {p for p in neurons if "attn_neuron" in p}
    assert {n.v_threshold for path, n in neurons.items() if "attn_neuron" in path} == {0.5}


def test_the_cml_stem_adds_no_parameter():
    for name in sf.list_models("spik*former_cml_*"):
        with torch.device("meta"):
            cml, plain = sf.create_model(name), sf.create_model(name.replace("_cml", ""))
        assert {k: v.shape for k, v in cml.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
        assert repr(cml.blocks) == repr(plain.blocks) or "tau=1.75" in repr(cml.blocks)


def test_released_keys_of_a_cml_spikformer():
    released = {
        "patch_embed.block1_conv.weight": "stem.stages.0.proj.conv.weight",
        "patch_embed.block4_bn.running_mean": "stem.stages.3.proj.norm.running_mean",
        "patch_embed.rpe_conv.weight": "position.core.proj.conv.weight",
        "block.3.attn.q_linear.bias": "blocks.3.attn.core.q.conv.bias",
        "block.0.mlp.fc2_bn.weight": "blocks.0.mlp.core.fc2.norm.weight",
        "head.bias": "head.linear.bias",
    }
    with torch.device("meta"):
        model = sf.create_model("spikformer_cml_4_384_cifar10")
    family, weights = find_family("spikformer"), {key: torch.zeros(1) for key in released}
    assert list(translate(weights, family, model.config, {})) == list(released.values())
    assert set(released.values()) <= set(model.state_dict())
    assert translate({"block.0.norm1.weight": torch.zeros(1)}, family, model.config, {}) == {}
