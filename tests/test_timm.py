"""What timm expects of a model, of a tiny member of every family built by timm's own `create_model`."""

import copy
import re
from pathlib import Path

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from timm.utils import ModelEmaV3
from tiny_models import FAMILIES, TINY
from torch import nn

import spikeformers as sf
import spikeformers.timm
from spikeformers.layers.conv import ConvNorm
from spikeformers.layers.head import Head
from spikeformers.layers.stem import SPS
from spikeformers.models import registry
from spikeformers.neurons import LIF
from spikeformers.timm import FeatureSteps, TimmSpikingTransformer

every_tiny = pytest.mark.parametrize("name", TINY)
every_family = pytest.mark.parametrize("name", FAMILIES)

CLASSIFIERS = [name for name in sf.list_models() if "_mae_" not in name]


def create(name, **arguments):
    base, numbers = TINY[name]
    return timm.create_model(base, **{**numbers, **arguments})


def images(model, batch=2):
    return torch.randn(batch, model.in_chans, model.image_size, model.image_size)


def assert_same(one, other, but="nothing"):
    ours, theirs = one.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    assert [key for key in ours if not key.endswith(but) and not torch.equal(ours[key], theirs[key])] == []


def test_every_name_is_timms_too():
    ours = CLASSIFIERS
    assert set(timm.list_models(module="spiking_transformer")) >= set(ours)
    assert not set(timm.list_models("*mae*", module="spiking_transformer")) & set(sf.list_models())
    assert all(timm.is_model(name) for name in ours)
    assert {"qkformer_10_384", "spikformer_8_512"} <= set(timm.list_models("*former*"))
    assert timm.list_pretrained("spikformer*") == []


def test_no_name_is_one_of_timms_own():
    sources = (file.read_text() for file in Path(timm.models.__file__).parent.glob("*.py"))
    theirs = {name for source in sources for name in re.findall(r"^def (\w+)\(", source, re.MULTILINE)}
    assert "resnet50" in theirs and not theirs & set(sf.list_models())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_default_cfg_fits_the_model(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    cfg = timm.get_pretrained_cfg(name)
    assert cfg.input_size == (model.in_channels, model.image_size, model.image_size)
    assert len(cfg.mean) == len(cfg.std) == model.in_channels
    assert cfg.num_classes == model.num_classes
    first = model.get_submodule(cfg.first_conv)
    assert isinstance(first, nn.Conv2d) and first.in_channels == model.in_channels
    layers = [cfg.classifier] if isinstance(cfg.classifier, str) else cfg.classifier
    assert all(model.get_submodule(layer).out_features == model.num_classes for layer in layers)
    in_head = [key for key, layer in model.named_modules() if isinstance(layer, nn.Linear) and key.startswith("head.")]
    assert in_head == list(layers)


def test_images_are_normalised_as_where_they_come_from():
    means = {name: timm.get_pretrained_cfg(name).mean for name in ("sdt_8_512", "sdt_2_512_cifar10", "sdt_8_768")}
    assert means == {
        "sdt_8_512": (0.485, 0.456, 0.406), "sdt_2_512_cifar10": (0.4914, 0.4822, 0.4465),
        "sdt_8_768": (0.485, 0.456, 0.406),
    }  # fmt: skip
    assert timm.get_pretrained_cfg("spikingresformer_cifar10dvs").mean == (0.0, 0.0, 0.0)


@every_tiny
def test_is_the_model_of_create_model(name):
    torch.manual_seed(3)
    model = create(name).eval()
    torch.manual_seed(3)
    ours = sf.create_model(TINY[name][0], **TINY[name][1]).eval()
    assert isinstance(model, sf.models.SpikingTransformer)
    assert list(model.state_dict()) == list(ours.state_dict()) and model.config == ours.config
    assert torch.equal(model(x := images(model)), ours(x))


@pytest.mark.parametrize("tiny", TINY, indirect=True)
def test_features_and_head_make_the_forward(tiny):
    model, x = TimmSpikingTransformer(tiny[0]), tiny[1]
    features = model.forward_features(x)
    assert torch.equal(model.forward_head(features), model(x))
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape == (3, model.num_features) == (3, model.head_hidden_size)
    assert pooled.std(0).max() > 0
    model.reset_classifier(0)
    assert torch.equal(model(x), pooled)


@every_tiny
def test_feature_info_is_what_comes_out(name):
    base = create(name)
    model = create(name, features_only=True)
    x = images(base)
    maps = model(x)
    assert [m.shape[1] for m in maps] == model.feature_info.channels()
    assert [x.shape[-1] // m.shape[-1] for m in maps] == model.feature_info.reduction()
    assert all(m.shape[0] == 2 and m.shape[2] == m.shape[3] for m in maps)
    assert len({m.data_ptr() for m in maps}) == len(maps) == len(base.feature_info)
    seen = {}
    for module in model.feature_info.module_name():
        model.model.get_submodule(module).register_forward_hook(lambda _, x, y, module=module: seen.update({module: y}))
    maps = model.eval()(x)
    assert all(torch.equal(y.mean(0), m) for y, m in zip(seen.values(), maps, strict=True))


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("qkformer", [0, 2]),
        ("sew_resnet", [1, 2]),
        ("sdt_v2", [0, 2, 5, 9]),
        ("spikformer", [0, 1]),
        ("spikingresformer", [0, 2, 4]),
    ],
)
def test_stages_end_where_the_map_changes(name, blocks):
    assert [stage.last_block for stage in create(name).stages] == blocks


@every_family
def test_features_of_some_stages(name, lively):
    whole = create(name)
    x = images(whole)
    lively(whole, x)
    all_maps = whole.forward_intermediates(x, intermediates_only=True)
    first = create(name, features_only=True, out_indices=[0])
    first.load_state_dict(whole.state_dict())
    assert len(first.model.blocks) == whole.stages[0].last_block + 1 and first.model.num_classes == 0
    assert sum(p.numel() for p in first.parameters()) < sum(p.numel() for p in whole.parameters())
    assert torch.equal(first.eval()(x)[0], all_maps[0])
    steps = create(name, features_only=True, out_indices=(-1,), feature_cls=FeatureSteps)
    steps.load_state_dict(whole.state_dict())
    (last,) = steps.eval()(x)
    assert last.shape[:2] == (whole.time_steps, 2) and torch.equal(last, whole.forward_features(x))
    assert torch.equal(last.mean(0), all_maps[-1])
    again = create(name, features_only=True, out_indices=(-1,))
    again.load_state_dict(steps.state_dict())
    assert_same(again, steps)


@every_family
def test_intermediates_come_with_what_the_head_reads(name, lively):
    model = create(name)
    x = images(model)
    lively(model, x)
    features, maps = model.forward_intermediates(x, indices=[0])
    assert torch.equal(model.forward_head(features), model(x)) and len(maps) == 1
    stopped, _ = model.forward_intermediates(x, indices=[0], stop_early=True)
    assert torch.equal(stopped.mean(0), maps[0])
    assert [len(model.forward_intermediates(x, n, intermediates_only=True)) for n in (1, 2)] == [1, 2]


def test_a_pruned_model_has_the_stages_that_are_left(lively):
    model = create("qkformer")
    x = images(model)
    lively(model, x)
    maps = model.forward_intermediates(x, intermediates_only=True)
    assert model.prune_intermediate_layers([0]) == [0]
    (left,) = model.forward_intermediates(x, intermediates_only=True)
    (steps,) = model.forward_stages(x)
    assert len(maps) == 2 and torch.equal(left, maps[0]) and torch.equal(steps.mean(0), left)
    with pytest.raises(ValueError, match=r"out_indices 1 name pruned stages: choose from \[0\]"):
        model.forward_intermediates(x, 1)


@every_tiny
def test_another_head(name, tmp_path):
    model = create(name)
    x = images(model)
    linear = model.get_classifier()
    assert len(linear) == 2 if name.endswith("_kd") else linear is model.head.linear
    for classes in (7, 0, 5):
        model.reset_classifier(classes)
        assert model(x).shape == (2, classes or model.num_features)
        assert model.num_classes == model.config["num_classes"] == classes
        again = sf.from_pretrained(sf.save_pretrained(model, tmp_path / str(classes)))
        assert torch.equal(again(x), model.eval()(x))
        model.train()
    layers = model.get_classifier()
    assert all(layer.out_features == 5 for layer in (layers if isinstance(layers, tuple) else [layers]))
    assert isinstance(create(name, num_classes=0).head.linear, nn.Identity)
    with pytest.raises(ValueError, match="num_classes -1 is below 0"):
        model.reset_classifier(-1)


def test_another_head_lies_where_the_old_one_lay():
    model = create("spikformer").to("meta", torch.bfloat16)
    for classes in (4, 0, 6):
        model.reset_classifier(classes)
    assert (model.head.linear.weight.device.type, model.head.linear.weight.dtype) == ("meta", torch.bfloat16)


@every_tiny
def test_layer_decay_grows_towards_the_head(name):
    model = create(name)
    layers = group_parameters(model, model.group_matcher(), reverse=True)
    assert set(layers) == {key for key, _ in model.named_parameters()}
    assert {layers[key] for key in layers if key.startswith(("stem.", "position."))} == {0}
    blocks = [{layers[k] for k in layers if k.startswith(f"blocks.{i}.")} for i in range(len(model.blocks))]
    assert blocks == [{i + 1} for i in range(len(model.blocks))]
    assert {layers[key] for key in layers if key.startswith("head.")} == {len(model.blocks) + 1}
    coarse = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    assert set(coarse) == set(layers) and max(coarse.values()) == len(model.stages) + 1

    scales = {
        id(p): group["lr_scale"] for group in param_groups_layer_decay(model, layer_decay=0.5) for p in group["params"]
    }
    assert len(scales) == len(layers)
    depth = max(layers.values())
    assert all(scales[id(p)] == 0.5 ** (depth - layers[key]) for key, p in model.named_parameters())
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, layer_decay=0.75)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(layers)


def test_neurons_and_scales_do_not_decay():
    assert create("spikformer").no_weight_decay() == set()
    learning = create("spikformer", neuron=sf.neurons.PLIF).no_weight_decay()
    assert learning and all(key.endswith(".w") for key in learning)
    assert create("spikformer", attention="TIM").no_weight_decay() == set()  # which has a Conv1d
    scaled = create("sdt_v3_large")
    assert scaled.no_weight_decay() <= {key for key, _ in scaled.named_parameters()}
    assert {key.rpartition(".")[2] for key in scaled.no_weight_decay()} == {"scale"}


@every_tiny
def test_recomputing_changes_nothing_but_memory(name):
    one, other = create(name), create(name)
    other.load_state_dict(one.state_dict())
    other.set_grad_checkpointing()
    x = images(one)
    for model in (one, other):
        model.train()(x).square().sum().backward()
    assert_same(one, other)  # the running statistics: those of one run, not two
    grads = zip(one.parameters(), other.parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-6) for a, b in grads)


def test_recomputed_blocks_run_twice_and_only_if_asked():
    model = create("spikformer").train()
    runs = []
    model.blocks[0].register_forward_pre_hook(lambda *_: runs.append(1))  # the second run stops short of its end
    for enable, count in ((True, 2), (False, 1)):
        runs.clear()
        model.set_grad_checkpointing(enable)
        model(images(model)).sum().backward()
        assert len(runs) == count


@every_family
def test_averaged_and_deep_copied(name):
    model = create(name)
    ema = ModelEmaV3(model, decay=0.5)
    with torch.no_grad():
        model.get_parameter(next(key for key, _ in model.named_parameters())).add_(1.0)
    ema.update(model)
    averaged, now = next(ema.module.parameters()), next(model.parameters())
    assert torch.allclose(averaged, now - 0.5, atol=1e-6)
    features = copy.deepcopy(create(name, features_only=True))
    assert len(features(images(model))) == len(features.feature_info)


def test_timms_names_for_our_arguments():
    model = create("qkformer", in_chans=5, drop_path_rate=0.3, image_size=None, img_size=(24, 24), num_classes=3)
    says = {key: model.config[key] for key in ("in_channels", "drop_path", "image_size", "num_classes")}
    assert says == dict(in_channels=5, drop_path=0.3, image_size=24, num_classes=3)
    assert create("qkformer", in_channels=2).in_chans == 2
    assert create("qkformer", time_steps=3, neuron=sf.neurons.PLIF).config["neuron"] == "PLIF"
    create("qkformer", drop_rate=0.0, global_pool="avg", drop_block_rate=None, bn_eps=None, scriptable=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(drop_rate=0.1), "takes no drop_rate but 0, and 0.1 was given: leave it out"),
        (dict(global_pool="max"), "takes no global_pool but 'avg', and 'max' was given"),
        (dict(pruned=True), "takes no pruned but False"),
        (dict(bn_eps=1e-3), "takes no 'bn_eps': did you mean"),
        (dict(act_layer=nn.ReLU), "takes no 'act_layer'"),
        (dict(out_indices=(0,)), "are for features_only=True: add it"),
        (dict(features_only=True, out_indices=(0, 9)), r"out_indices \(0, 9\) are not among the 2 stages"),
        (dict(features_only=True, out_indices=0), "out_indices 0 are not among the 2 stages"),
        (dict(features_only=True, feature_cls="hook"), "feature_cls 'hook' has no time axis: use spikeformers.timm"),
        (dict(image_size=None, img_size=(16, 24)), r"img_size \(16, 24\) is not square"),
        (dict(in_chans=2, in_channels=3), "in_chans and in_channels are one argument"),
        (dict(pretrained=True), "has no weights to download: give checkpoint_path=FILE"),
    ],
)  # fmt: skip
def test_what_would_change_nothing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        create("qkformer", **arguments)


def test_refusals_of_methods():
    model = create("spikformer")
    with pytest.raises(ValueError, match="global_pool 'max' is not supported, only 'avg'"):
        model.reset_classifier(3, "max")
    for arguments in (dict(norm=True), dict(output_fmt="NHWC")):
        with pytest.raises(ValueError, match="only NCHW without norm"):
            model.forward_intermediates(images(model), **arguments)


@pytest.fixture
def spikformer(lively):
    model = create("spikformer")
    return lively(model, images(model))


@pytest.fixture
def ours(spikformer, tmp_path):
    return str(sf.save_pretrained(spikformer, tmp_path / "ours"))


@pytest.fixture
def released(spikformer, tmp_path):
    """The same weights as the paper's authors spell them, without the batch counters."""
    theirs = {}
    for key, value in spikformer.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        key = key.replace("head.linear.", "head.")
        for i in range(4):
            key = key.replace(f"stem.stages.{i}.proj.conv", f"patch_embed.proj_conv{i or ''}")
            key = key.replace(f"stem.stages.{i}.proj.norm", f"patch_embed.proj_bn{i or ''}")
        key = key.replace("position.core.proj.conv", "patch_embed.rpe_conv")
        key = key.replace("position.core.proj.norm", "patch_embed.rpe_bn")
        if key.startswith("blocks."):
            key = key.replace("blocks.", "block.").replace(".core.", ".")
            key = key.replace(".conv.", "_linear.").replace(".norm.", "_bn.")
            value = value.squeeze() if key.endswith("_linear.weight") else value
        theirs[key] = value
    theirs["block.0.norm1.weight"] = torch.ones(32)  # which no forward pass reads
    assert not set(theirs) & set(spikformer.state_dict())
    torch.save({"model": theirs}, path := tmp_path / "released.pth.tar")
    return str(path)


@pytest.mark.parametrize("layout", ["ours", "released"])
def test_checkpoints_load_by_timms_own_ways(layout, spikformer, request):
    path = request.getfixturevalue(layout)
    file = dict(pretrained=True, pretrained_cfg_overlay=dict(file=path))
    x = images(spikformer)
    for ways in (dict(checkpoint_path=path), file):
        assert_same(create("spikformer", **ways), spikformer, but="num_batches_tracked")
        pooled = create("spikformer", num_classes=0, **ways).eval()(x)
        assert torch.equal(pooled, spikformer.forward_head(spikformer.forward_features(x), pre_logits=True))
        (first,) = create("spikformer", features_only=True, out_indices=[0], **ways).eval()(x)
        assert torch.equal(first, spikformer.forward_intermediates(x, [0], intermediates_only=True)[0])
    wider = create("spikformer", num_classes=12, **file)
    assert wider.num_classes == 12
    assert_same(wider.blocks, spikformer.blocks, but="num_batches_tracked")
    with pytest.raises(RuntimeError, match=r"size mismatch for head\.linear\.weight"):
        create("spikformer", num_classes=12, checkpoint_path=path)


def test_a_checkpoint_that_does_not_fit_is_refused(ours):
    with pytest.raises(RuntimeError, match="Unexpected key"):
        create("spikformer", depth=1, checkpoint_path=ours)
    with pytest.raises(ValueError, match="does not fit"):
        create("spikformer", depth=3, pretrained=True, pretrained_cfg_overlay=dict(file=ours))


def test_a_folder_that_timm_saved_comes_back(spikformer, tmp_path):
    timm.models.save_for_hf(spikformer, tmp_path, model_args=TINY["spikformer"][1])
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert_same(again, spikformer)
    fine_tuned = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=3, in_chans=1)
    assert fine_tuned.num_classes == 3 and fine_tuned.in_chans == 1
    assert_same(fine_tuned.blocks, spikformer.blocks)


def test_a_run_folder_is_a_file_of_weights(ours, spikformer):
    overlay = dict(file=str(Path(ours).parent))
    assert_same(create("spikformer", pretrained=True, pretrained_cfg_overlay=overlay), spikformer)


def test_a_model_of_ones_own(monkeypatch):
    def timms_own(*, in_channels: int = 3, num_classes: int = 4, image_size: int = 8, time_steps: int = 2):
        stem, head = SPS(in_channels, 8, LIF, (2,)), Head(8, num_classes, LIF)
        return sf.models.SpikingTransformer(
            stem=stem, blocks=[ConvNorm(8, 8)], head=head, time_steps=time_steps, image_size=image_size
        )

    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    sf.models.register(timms_own, {"timms_own_1_8": {}})
    spikeformers.timm.register("timms_own_1_8")
    model = timm.create_model("timms_own_1_8", in_chans=1)
    assert model(images(model)).shape == (2, 4) and model.default_cfg["first_conv"] == "stem.stages.0.proj.conv"
    with pytest.raises(ValueError, match="takes no 'drop_path': did you mean"):
        timm.create_model("timms_own_1_8", drop_path_rate=0.1)
