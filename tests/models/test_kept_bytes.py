"""What training keeps for the backward pass: a lost note (`spikeformers.ops.notes`) costs memory, and says nothing."""

import pytest
import torch
from tiny_models import build

import spikeformers as sf
from spikeformers.models import list_families
from spikeformers.models.registry import find_family

# Bytes beside the parameters, for two images, of the smallest size of every family. Fewer are better: then change them.
KEPT = {
    "maxformer_2_256_cifar10dvs": 274_061_056,
    "msvit_4_384_cifar100": 205_979_136,
    "qkformer_2_256_cifar10dvs": 282_959_616,
    "qsd_8m": 289_692_696,  # of this 74 million are of its quantised weights
    "sdt_2_256_cifar10dvs": 503_694_336,
    "sdt_v2_15m": 222_076_608,
    "sdt_v3_3m": 117_704_128,
    "sdt_v3_83m": 557_426_688,
    "sdt_v3_mae_83m": 538_155_008,
    "sew_resnet18_cifar10": 24_076_288,
    "sglformer_3_256_cifar10dvs": 284_407_968,
    "spikformer_2_256_cifar10dvs": 158_233_600,
    "spikformer_v2_8_384": 561_247_104,
    "spikformer_v2_mae_16_768": 547_673_088,
    "spikingformer_2_256_cifar10dvs": 164_516_864,
    "spikingresformer_gesture": 2_362_227_448,
    "swformer_2_256_cifar10dvs": 227_821_568,
}


def kept_by(model, device):
    kept, alive = {}, []
    parameters = {p.untyped_storage()._cdata for p in model.parameters()}

    def keep(t):
        alive.append(t)  # a freed storage's address may come again
        kept[t.untyped_storage()._cdata] = t.untyped_storage().nbytes()
        return t

    x = torch.randn(2, model.in_channels, model.image_size, model.image_size, device=device)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        model.train()(x)
    return sum(size for storage, size in kept.items() if storage not in parameters)


def test_every_family_is_held_to_a_number():
    sizes = [find_family(family).published for family in list_families()]
    assert {min(published, key=lambda name, sizes=published: sizes[name].parameters) for published in sizes} == {*KEPT}


@pytest.mark.parametrize("name", KEPT)
def test_training_keeps_no_more(name):
    with torch.device("meta"):  # shapes tell it, nothing need be computed
        model = sf.create_model(name)
    assert kept_by(model, "meta") == pytest.approx(KEPT[name], rel=1e-3)


def test_shapes_tell_what_is_kept():
    model = build("qkformer")
    assert kept_by(model, "cpu") == kept_by(model.to("meta"), "meta")
