"""What QKFormer and Max-Former refuse, and that their stages' strides count for an image's size."""

import pytest
import torch

import spikeformers as sf

TINY = dict(dims=(16, 32), depths=(1, 1), num_heads=2, strides=(1, 1), image_size=16, time_steps=2, num_classes=3)


@pytest.mark.parametrize("name", ["qkformer", "maxformer"])
def test_numbers_of_stages_that_disagree(name):
    own = {"kernel_sizes": (3,)} if name == "maxformer" else {}
    with pytest.raises(ValueError, match=r"depths \(1,\).* do not give the same number of stages: give one of each"):
        sf.create_model(name, **{**TINY, **own, "depths": (1,)})


def test_a_kernel_size_for_every_stage_but_the_last():
    with pytest.raises(ValueError, match=r"kernel_sizes .* do not give the same number of stages"):
        sf.create_model("maxformer", **TINY, kernel_sizes=(3, 3))


def test_an_image_is_a_multiple_of_all_strides():
    model = sf.create_model("qkformer_10_384", dims=(16, 16, 16), num_heads=2, depths=(1, 1, 1), num_classes=3).eval()
    assert model(torch.randn(1, 3, 32, 48)).shape == (1, 3)
    with pytest.raises(ValueError, match="36 x 32 is not a multiple of the stem's stride 16: resize it to 48 x 32"):
        model(torch.randn(1, 3, 36, 32))


def test_early_and_late_attention_are_swapped_apart():
    model = sf.create_model("qkformer", **TINY, early_attention="QKCA", attention="QKTA")
    assert [type(model.blocks[i].attn.core).__name__ for i in (0, 2)] == ["QKCA", "QKTA"]
    assert sf.create_model(**model.config).config == model.config
