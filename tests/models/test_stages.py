"""Where a trunk's stages end, and who leans on it: the image's size, layer decay, stems of one's own."""

import pytest
import torch
from tiny_models import FAMILIES, TINY, build
from torch import nn
from torch.nn.functional import cross_entropy

import spikeformers as sf
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.head import Head
from spikeformers.layers.stem import SPS
from spikeformers.models import SpikingTransformer, Stage, check_model
from spikeformers.models.parts import find_part, part_names
from spikeformers.neurons import LIF
from spikeformers.timm.network import TimmSpikingTransformer
from spikeformers.training.optim import find_layers

STAGED = {name: sized["depths"] for name, (_, sized) in TINY.items() if "depths" in sized}
FLAT = {"spikformer", "spikformer_v2", "spikingformer", "sdt", "sglformer", "swformer"}


@pytest.mark.parametrize("name", TINY)
def test_stages_are_what_flows(name):
    with torch.device("meta"):
        model = build(name).eval()
        x = torch.zeros(1, model.in_channels, model.image_size, model.image_size)
    shapes = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, __, y: shapes.append((y.shape[2], model.image_size / y.shape[-1])))
    model(x)
    assert [(stage.dim, stage.reduction) for stage in model.stages] == [shapes[s.last_block] for s in model.stages]
    reductions = [stage.reduction for stage in model.stages]
    if name.removesuffix("_events") in FLAT:
        assert [stage.last_block for stage in model.stages] == [*range(len(model.blocks))]
    else:
        assert reductions == sorted({reduction for _, reduction in shapes})


def test_a_stage_ends_where_the_map_shrinks_not_where_the_width_changes():
    with torch.device("meta"):
        stages = sf.create_model("sdt_v3_5m").stages
        one = sf.create_model("qkformer", dims=(16, 32), depths=(1, 1), num_heads=2, downsampling_strides=(1, 1)).stages
    assert stages == ((0, 16, 2), (2, 32, 4), (5, 64, 8), (15, 192, 16))
    assert one == (Stage(2, 32, 4),)


@pytest.mark.parametrize(("name", "place"), [(name, i) for name in STAGED for i in range(len(STAGED[name]))])
def test_a_stage_of_no_blocks_only_shrinks_the_map(name, place):
    depths = [depth * (i != place) for i, depth in enumerate(STAGED[name])]
    if name.startswith("sew_resnet"):
        with pytest.raises(ValueError, match="leave a stage without the block that shrinks the map: give 1 or more"):
            build(name, depths=depths)
        return
    model, whole = build(name, depths=depths).eval(), build(name)
    assert [(s.dim, s.reduction) for s in model.stages] == [(s.dim, s.reduction) for s in whole.stages]
    x = torch.randn(1, model.in_channels, model.image_size, model.image_size)
    seen = TimmSpikingTransformer(model)
    maps = seen.forward_intermediates(x, intermediates_only=True)
    shapes = [(y.shape[1], model.image_size // y.shape[-1]) for y in maps]
    assert shapes == [(s.dim, s.reduction) for s in model.stages]
    first = seen.get_submodule(seen.feature_info[0]["module"])
    with torch.no_grad():
        first.register_forward_hook(lambda _, __, y: maps.append(y.mean(0)))
        model(x)
    assert torch.equal(maps[0], maps[-1])
    layers, last = find_layers(model), len(model.blocks) - 1
    behind = max((stage.last_block + 1 for stage in model.stages[:-1]), default=0)  # shrinks the map for the last stage
    assert {layers[key] for key in layers if key.startswith(("stem.", f"blocks.{behind}."))} == {0}
    assert {layers[key] for key in layers if key.startswith("head.")} == {last - behind + 1}
    check_model(model)


@pytest.mark.parametrize("stem", part_names("stem"))
def test_every_stem_refuses_an_image_that_its_strides_do_not_divide(stem):
    make = find_part("stem", stem)
    model = SpikingTransformer(
        stem=make(3, 8, LIF, (2, 2)), blocks=[], head=Head(8, 2, LIF), time_steps=1, image_size=32
    )
    assert model(torch.zeros(1, 3, 8, 12)).shape == (1, 2)
    with pytest.raises(ValueError, match="30 x 32 is not a multiple of the stem's stride 4: resize it to 32 x 32"):
        model(torch.zeros(1, 3, 30, 32))


class OwnStem(nn.Module):
    def __init__(self, in_channels, dim, neuron, strides):
        super().__init__()
        self.sps = SPS(in_channels, dim, neuron, strides)
        self.in_channels, self.stride = in_channels, self.sps.stride

    def forward(self, x):
        return self.sps(x)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_stem_of_ones_own_behind_every_family(name):
    model = build(name, stem=OwnStem)
    check_model(model)
    x = torch.randn(3, model.in_channels, model.image_size, model.image_size)
    cross_entropy(model(x), torch.arange(3)).backward()
    assert model.stem.sps.stages[0].proj.conv.weight.grad.isfinite().all()


class Plain(nn.Module):
    """A block that is no `nn.Sequential`."""

    def __init__(self, block):
        super().__init__()
        self.inner = block

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize("name", FAMILIES)
def test_layer_decay_knows_blocks_of_any_class(name):
    with torch.device("meta"):
        model = build(name)
        plain = build(name)
    layers = find_layers(model)
    plain.blocks = nn.Sequential(*map(Plain, plain.blocks))
    assert {key.replace(".inner.", "."): layer for key, layer in find_layers(plain).items()} == layers
    last = len(model.blocks) - 1
    assert {layers[key] for key in layers if key.startswith(f"blocks.{last}.")} == {max(layers.values()) - 1}
    assert {layers[key] for key in layers if key.startswith("head.")} == {max(layers.values())}
    if len(model.stages) > 1 and name not in FLAT:
        behind = model.stages[-2].last_block + 1  # shrinks the map
        assert {layers[key] for key in layers if key.startswith(f"blocks.{behind}.")} == {0}
        assert {layers[key] for key in layers if key.startswith(f"blocks.{behind + 1}.")} in ({1}, set())
    else:
        assert {layers[key] for key in layers if key.startswith("blocks.0.")} == {1}


@pytest.mark.parametrize("head", ["retinanet", "mask_rcnn", "fpn"])
def test_layer_decay_takes_what_stands_on_the_trunk_for_the_head(head):
    with torch.device("meta"):
        trunk, model = sf.create_model("sdt_v3_5m"), sf.create_model(f"{head}_sdt_v3_5m")
    of_trunk, layers = find_layers(trunk), find_layers(model)
    on_it = {name for name in layers if name.startswith(("neck.", "head."))}
    assert {name: layers[name] for name in layers.keys() - on_it} == {
        name: layer for name, layer in of_trunk.items() if not name.startswith("head.")
    }
    assert {layers[name] for name in on_it} == {max(of_trunk.values())}


def test_a_family_of_ones_own_has_a_stage_a_block():
    blocks = [ConvNorm(8, 8), Plain(ConvNorm(8, 8))]
    model = SpikingTransformer(
        stem=SPS(3, 8, LIF, (2, 2)), blocks=blocks, head=Head(8, 2, LIF), time_steps=1, image_size=8
    )
    assert model.stages == (Stage(0, 8, 4), Stage(1, 8, 4))
    assert sorted(set(find_layers(model).values())) == [0, 1, 2, 3]
