"""Quantisers of weights: LSQ by hand, every one as a part of any family, from full precision and to inference."""

import re

import pytest
import torch
from tiny_models import build

import spikeformers as sf
from spikeformers.analysis import profile
from spikeformers.layers import quantizer as slot
from spikeformers.layers.linear import QuantizableLayer
from spikeformers.layers.quantizer import LSQ, quantize_weights
from spikeformers.models.parts import find_part, part_names

every_quantizer = pytest.mark.parametrize("name", part_names("quantizer"))


def layers(model):
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, QuantizableLayer)}


@every_quantizer
def test_every_one_maps_weights_to_weights_and_says_how_it_stands_to_released_code(name, parameters_without_gradient):
    weight = torch.randn(3, 2, 1, 1)
    part = find_part("quantizer", name)(weight)
    assert part(weight).shape == weight.shape
    assert torch.allclose(part(weight), weight, atol=1.5)
    assert parameters_without_gradient(part, weight.requires_grad_()) == []
    assert len(re.findall(r"Released\s+code: (?:equal|differs|none)[,;. ]", getattr(slot, name).__doc__)) == 1


def test_lsq_by_hand():
    weight = torch.tensor([[0.25, 0.75, -5.0, 3.4], [-0.6, 0.0, 1.0, 4.1]], dtype=torch.float64, requires_grad=True)
    lsq = LSQ(weight)
    first = 2 * weight.abs().mean().item() / 7**0.5
    assert lsq.step.tolist() == pytest.approx([first] * 2)
    with torch.no_grad():
        lsq.step.copy_(torch.tensor([0.5, 1.0]))
    rounded = lsq(weight)
    assert rounded.tolist() == [[0.0, 1.0, -4.0, 3.5], [-1.0, 0.0, 1.0, 4.0]]  # 1/2 to 0, 3/2 to 2, -10 to -8
    rounded.sum().backward()
    assert weight.grad.tolist() == [[1, 1, 0, 1], [1, 1, 1, 1]]
    by_step = [
        (0 - 0.5) + (2 - 1.5) - 8 + (7 - 6.8),
        (-1 + 0.6) + 0 + 0 + (4 - 4.1),
    ]
    # round(w / s) - w / s, or the end
    assert lsq.step.grad.tolist() == pytest.approx([g / (8 * 7) ** 0.5 for g in by_step])


def test_a_bit_is_too_few():
    with pytest.raises(ValueError, match=r"bits 1 .*give 2 or more"):
        sf.create_model("spikformer_4_384_cifar10", dim=16, depth=1, num_heads=2, quantizer={"part": "LSQ", "bits": 1})


@pytest.mark.parametrize("family", ["spikformer", "qkformer", "sdt_v2", "spikingresformer", "qsd"])
def test_every_family_takes_one_by_name(family):
    model = build(family, quantizer={"part": "LSQ", "bits": 3})
    assert model.config["quantizer"] == {"part": "LSQ", "bits": 3}
    assert sf.create_model(**model.config).state_dict().keys() == model.state_dict().keys()
    for name, layer in layers(model).items():
        for used, step in zip(layer.used_weight(), layer.quantizer.step, strict=True):
            levels = (used / step).unique()
            assert len(levels) <= 8 and torch.allclose(levels, levels.round(), atol=1e-4), name


def test_without_one_the_config_and_the_keys_are_as_before():
    model = build("spikformer")
    assert "quantizer" not in model.config and not any("quantizer" in key for key in model.state_dict())
    plain = build("qsd", quantizer="FullPrecision")
    assert not any("quantizer" in key for key in plain.state_dict())


@pytest.fixture
def files(tmp_path):
    torch.manual_seed(0)
    model = build("spikformer")
    return model, sf.save_pretrained(model, tmp_path / "plain")


def test_quantisers_start_from_the_weights_of_a_plain_file(files, caplog):
    model, path = files
    quantised = sf.from_pretrained(path, quantizer="LSQ")
    assert "the quantizers start from them" in caplog.text
    by_hand = quantize_weights(model, LSQ)
    assert all(torch.equal(v, by_hand.state_dict()[k]) for k, v in quantised.state_dict().items())


def test_a_quantised_file_keeps_its_steps(files, tmp_path):
    model = build("spikformer", quantizer="LSQ")
    with torch.no_grad():
        for layer in layers(model).values():
            layer.quantizer.step.mul_(1.5)
    again = sf.from_pretrained(sf.save_pretrained(model, tmp_path / "quantised"))
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


def test_other_classes_get_a_quantised_layer_too():
    model = build("qsd")
    model.reset_classifier(4)
    assert isinstance(model.head.linear.quantizer, LSQ) and model.head.linear.quantizer.step.shape == (4,)
    model.reset_classifier(0)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 48)
    model.reset_classifier(3)
    assert isinstance(model.head.linear.quantizer, LSQ)


@pytest.mark.parametrize("family", ["spikformer", "qsd"])
def test_folding_bakes_them(family):
    model = build(family, quantizer="LSQ").double().eval()
    x = torch.randn(2, 3, model.image_size, model.image_size, dtype=torch.float64)
    folded = sf.deploy.fold(model, grow=False)
    assert not any("quantizer" in key for key in folded.state_dict())
    assert torch.allclose(folded(x), model(x), atol=1e-9)
    again = sf.create_model(**folded.config)
    assert not any("quantizer" in key for key in again.state_dict())


def test_rounding_weights_is_no_operation_of_the_network_and_saves_traffic():
    x = torch.randn(2, 3, 16, 16)
    torch.manual_seed(0)
    four, plain = (build("spikformer", quantizer=q).eval() for q in ("LSQ", "FullPrecision"))
    fours, plains = profile(four, [x]), profile(plain, [x])
    assert [layer.name for layer in fours.layers] == [layer.name for layer in plains.layers]
    with_weights = [layer for layer in fours.layers if layer.weights]
    assert with_weights and {layer.weight_bits for layer in with_weights} == {4}
    assert not any(layer.weight_bits for layer in plains.layers)
    for layer, other in zip(fours.layers, plains.layers, strict=True):
        assert (layer.op, layer.macs, layer.dense, layer.weights) == (other.op, other.macs, other.dense, other.weights)
    traffic = [sum(la.weights * (la.weight_bits or 8) for la in p.layers) for p in (fours, plains)]
    assert 2 * traffic[0] == traffic[1]
    assert fours.twin.moved < plains.twin.moved
