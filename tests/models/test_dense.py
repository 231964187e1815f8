"""Detectors and segmenters: every head on a tiny trunk of every family, every registered size by its numbers."""

import json

import pytest
import torch
from norm_layout import check_layout, last
from torch.nn.functional import cross_entropy

import spikeformers as sf
from spikeformers.compare.plan import combinations
from spikeformers.layers.contracts import MakeNeuron
from spikeformers.layers.downsample import MembraneDownsample as Membrane
from spikeformers.layers.head import Head
from spikeformers.layers.stem import SPS
from spikeformers.models import SpikingTransformer, Stage, registry
from spikeformers.models.registry import _FAMILIES, find_family, task_of
from spikeformers.neurons import LIF
from spikeformers.training.module import channels_last

TRUNKS = {  # a size of every family of classifiers, and how to cut it down
    "maxformer_10_384": dict(dims=(32, 32, 64), depths=(1, 1, 1), num_heads=2, time_steps=2),
    "qkformer_10_384": dict(dims=(32, 32, 64), depths=(1, 1, 1), num_heads=2, time_steps=2),
    "msvit_10_384": dict(dims=(32, 32, 64), depths=(1, 1, 1), num_heads=2, time_steps=2),
    "qsd_15m": dict(dims=(32, 32, 32, 32), depths=(1, 1), num_heads=2),
    "sdt_8_384": dict(dim=32, depth=1, num_heads=2, time_steps=2),
    "sdt_v2_15m": dict(dims=(32, 32, 32, 32), depths=(1, 1), num_heads=2),
    "sdt_v3_5m": dict(dims=(32, 32, 32, 32), depths=(1, 1), num_heads=2),
    "sdt_v3_83m": dict(dims=(32, 32, 32), depth=1, num_heads=2),
    "sew_resnet18": dict(dims=(32, 32, 32), depths=(1, 1, 1), stem_dim=32, time_steps=2),
    "sglformer_8_384": dict(dim=32, depth=1, num_heads=2, time_steps=2),
    "spikformer_8_384": dict(dim=32, depth=1, num_heads=2, time_steps=2),
    "spikformer_v2_8_384": dict(dim=32, depth=1, num_heads=2, time_steps=2),
    "spikingformer_8_384": dict(dim=32, depth=1, num_heads=2, time_steps=2),
    "spikingresformer_ti": dict(dims=(32, 32, 32), num_heads=(1, 1, 1), depths=(1, 1, 1), time_steps=2),
    "swformer_8_512": dict(dim=32, depth=1, time_steps=2),
}
HEADS = {"retinanet": dict(head_depth=1), "mask_rcnn": dict(head_depth=1, head_dim=16), "fpn": {}}
QUICK = ("sdt_v3_5m", "sdt_8_384")  # with stages and flat: under every head; the others under one, the rest by hand
EVERY = [
    pytest.param(head, trunk, marks=() if head == "retinanet" or trunk in QUICK else pytest.mark.slow)
    for trunk in TRUNKS
    for head in HEADS
]
every_pair = pytest.mark.parametrize(("head", "trunk"), EVERY)
DENSE = [*sf.list_models(task="detection"), *sf.list_models(task="segmentation")]
SIZE = (40, 56)  # not square, and no multiple of 16
OWN_SIZES = {  # maps that split into 2 x 2 windows, or whose sides are powers of 2
    "sglformer_8_384": (32, 64),
    "swformer_8_512": (32, 64),
}


class Thirds(torch.nn.Module):
    """A neuron that emits other values than it says."""

    levels = (0.0, 1.0)

    def __init__(self, *, v_threshold=1.0):
        super().__init__()

    def forward(self, x):
        return x / 3


def build(head, trunk="sdt_v3_5m", **overrides):
    numbers = dict(num_classes=2, image_size=OWN_SIZES.get(trunk, SIZE), neck_dim=16, pyramid=(8, 16, 32))
    return sf.create_model(f"{head}_{trunk}", **{**numbers, **TRUNKS[trunk], **HEADS[head], **overrides})


def scene(trunk="sdt_v3_5m", size=None, in_channels=3):
    """Two images with a bright box each, and what a model of each task learns from."""
    size = size or OWN_SIZES.get(trunk, SIZE)
    x, targets = 0.3 * torch.randn(2, in_channels, *size), []
    for number in range(2):
        left, top = 8 * number + 4, 4 * number + 6
        masks = torch.zeros(1, *size, dtype=torch.uint8)
        masks[:, top : top + 20, left : left + 28] = 1
        x[number] += 2 * masks
        box = torch.tensor([[left, top, left + 28.0, top + 20]])
        targets.append({"boxes": box, "labels": torch.tensor([number % 2]), "masks": masks})
    return x, targets


def loss(model, x, targets):
    if model.task == "detection":
        return sum(model(x, targets).values())
    return cross_entropy(model(x), torch.cat([target["masks"] for target in targets]).long())


@pytest.fixture
def dense(head, trunk):
    """A model in eval mode that spikes, and images."""
    x, targets = scene(trunk)
    model = awake(build(head, trunk))
    loss(model, x, targets)
    return model.eval(), x


def awake(model):
    """The model, whose norms take the statistics of the next batch, without which most neurons would be silent."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    return model


def test_a_trunk_of_every_family():
    assert {find_family(name).builder for name in TRUNKS} == {
        family.builder for name, family in _FAMILIES.items() if not name.endswith("_mae")
    }


@every_pair
def test_a_step_of_training(head, trunk):
    check_step(build(head, trunk), *scene(trunk))


@pytest.mark.parametrize("neuron", ["LIF", "IntegerHalfEven"])
@pytest.mark.parametrize("trunk", QUICK)
@pytest.mark.parametrize("head", HEADS)
def test_training_keeps_one_layout(head, trunk, neuron):
    x, targets = scene(trunk)
    check_layout(loss(channels_last(build(head, trunk, neuron=neuron, neck_neuron=neuron)), last(x), targets))


def check_step(model, x, targets):
    total = loss(model, x, targets)
    total.backward()
    assert total.isfinite()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("head", HEADS)
def test_the_loss_falls(head):
    model, (x, targets) = build(head), scene()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        torch.manual_seed(0)  # of the samples that losses draw
        losses.append(loss(model, x, targets))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


def everything(model, x):
    """Outputs and, of a detector, all boxes, however unlikely."""
    outputs = [*model.forward_outputs(x).values()]
    if model.task == "detection":
        part = getattr(model.head, "roi_heads", model.head)
        part.score_thresh = 0.0
        outputs += [value for found in model(x) for value in found.values()]
    return outputs


@every_pair
def test_keeps_no_state(dense):
    model, x = dense
    first = everything(model, x)
    everything(model, torch.randn(1, 3, 64, 32))
    assert all(torch.equal(a, b) for a, b in zip(everything(model, x), first, strict=True))


@every_pair
def test_an_image_alone_is_that_image_in_a_batch(dense):
    check_alone(*dense)


def check_alone(model, x):
    """Returns the outputs for the batch."""
    together = model.forward_outputs(x)
    alone = [model.forward_outputs(x[i : i + 1]) for i in range(2)]
    for name, one in together.items():
        parts = [outputs[name] for outputs in alone]
        assert torch.allclose(one, torch.cat(parts, 1 if one.ndim == 5 else 0), atol=1e-4)
    assert next(iter(together.values())).std() > 0
    return together


@pytest.mark.parametrize("head", ["retinanet", "mask_rcnn"])
def test_outputs_are_what_is_chosen_from(head):
    """Every detection of RetinaNet is one of the boxes at its anchors; every region comes from one."""
    model, (x, targets) = build(head), scene()
    loss(model, x, targets)
    model.eval()
    if head == "retinanet":
        model.head.score_thresh = 0.0
        chosen = [found["boxes"] for found in model(x)]
    else:
        caught = []
        model.head.rpn.register_forward_hook(lambda _module, _inputs, output: caught.extend(output[0]))
        model(x)
        chosen = caught
    for boxes, of in zip(model.forward_outputs(x)["boxes"], chosen, strict=True):
        assert len(of)
        assert torch.cdist(of, boxes).min(1).values.max() < 1e-3


@pytest.mark.parametrize("head", HEADS)
def test_frames_bring_their_own_steps(head):
    model, (x, targets) = build(head, "qkformer_10_384"), scene()
    assert loss(model, x[None].expand(3, *x.shape), targets).isfinite()
    model.eval()
    frames = model.forward_outputs(x[None].expand(2, *x.shape))
    assert all(torch.equal(value, frames[name]) for name, value in model.forward_outputs(x).items())


def test_what_comes_out():
    x, targets = scene()
    model = build("fpn")
    assert model(x).shape == (2, 2, *SIZE)
    model = build("mask_rcnn").eval()
    model.head.roi_heads.score_thresh = 0.0
    for found in model(x):
        count = len(found["scores"])
        assert found["boxes"].shape == (count, 4)
        assert (found["boxes"][:, 2:] <= torch.tensor([SIZE[1], SIZE[0]])).all()
        assert {*found["labels"].tolist()} <= {0, 1}
        assert found["masks"].shape == (count, *SIZE)
        assert found["masks"].dtype == torch.uint8
    assert {*build("mask_rcnn")(x, targets)} == {
        "loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask",
    }  # fmt: skip


@pytest.mark.parametrize("head", ["retinanet", "mask_rcnn"])
def test_labels_count_from_zero(head):
    """A model biased to class 1 finds class 1, and learns from it at less loss than from class 0."""
    model, (x, targets) = build(head), scene()
    if head == "retinanet":
        part, bias = model.head, model.head.head.classification_head.cls_logits.conv.bias
        outputs = bias.data.view(-1, 2)[:, 1]
    else:
        part, bias = model.head.roi_heads, model.head.roi_heads.box_head[-1].conv.bias
        outputs = bias.data[2:3]  # after the background and class 0
    losses = []
    outputs += 3
    for label in (0, 1):
        torch.manual_seed(0)
        for target in targets:
            target["labels"] = torch.tensor([label])
        found = model(x, targets)
        losses.append(found["classification" if head == "retinanet" else "loss_classifier"])
    assert losses[1] < losses[0] - 0.01
    part.score_thresh = 0.0
    assert all({*found["labels"][:1].tolist()} == {1} for found in model.eval()(x))


def test_images_without_objects():
    x, targets = scene()
    none = [{key: value[:0] for key, value in target.items()} for target in targets]
    for head in ("retinanet", "mask_rcnn"):
        model = build(head)
        loss(model, x, none).backward()
        assert all(p.grad is not None for p in model.parameters())
        assert all(buffer.isfinite().all() for buffer in model.buffers())


@pytest.mark.parametrize("head", HEADS)
def test_neurons_emit_their_levels_and_can_be_swapped(head):
    model = build(head, neck_neuron="LIF", head_neuron={"part": "IntegerHalfUp", "max_count": 2})
    kinds = {name: type(part).__name__ for name, part in model.named_modules() if hasattr(part, "levels")}
    assert {kind for name, kind in kinds.items() if name.startswith("neck.")} == {"LIF"}
    assert {kind for name, kind in kinds.items() if name.startswith("head.")} == {"IntegerHalfUp"}
    assert {kind for name, kind in kinds.items() if name.startswith("blocks.")} == {"IntegerHalfEven"}
    convs = [n for n, m in model.named_modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))]
    seen = []

    def note(name):
        def hook(_module, inputs):
            seen.append((name, inputs[0].detach().unique()))

        return hook

    for name in convs:
        if name.startswith(("neck.", "head.")):
            model.get_submodule(name).register_forward_pre_hook(note(name))
    x, targets = scene()
    loss(model, x, targets)
    for name, values in seen:
        levels = {0.0, 1.0} if name.startswith("neck.") else {0.0, 0.5, 1.0}
        assert {*values.tolist()} <= levels, name


def test_neurons_by_default():
    counts = build("retinanet").head.head.classification_head.tower[0].neuron
    assert counts.levels == (0.0, 1.0, 2.0, 3.0, 4.0)  # as released: not divided
    assert build("fpn").head.finest[0].neuron.levels == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert type(build("fpn", "qkformer_10_384").neck.smooth[0].neuron).__name__ == "LIF"


@pytest.mark.parametrize("name", DENSE[::60])
def test_sizes(name):
    check_size(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSE)
def test_every_size(name):
    check_size(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSE)
def test_every_name_takes_a_step_and_keeps_nothing(name):
    """With its widths, depths and parts, on images of 64 x 64 pixels: two steps, two classes, few regions."""
    with torch.device("meta"):
        made = sf.create_model(name)
    numbers = dict(num_classes=2, image_size=64, time_steps=min(2, made.time_steps))
    model = awake(sf.create_model(name, **numbers, pyramid=tuple(stride for stride in made.pyramid if stride <= 64)))
    if hasattr(model.head, "roi_heads"):
        model.head.roi_heads.fg_bg_sampler.batch_size_per_image = 8
        model.head.rpn._post_nms_top_n = {"training": 20, "testing": 10}
    x, targets = scene(size=(64, 64), in_channels=model.in_channels)
    check_step(model, x, targets)
    model, x = model.double().eval(), x.double()  # in fp32 a count may flip by rounding, and a region with it
    with torch.no_grad():
        first = check_alone(model, x)
        again = model.forward_outputs(x)
    assert all(torch.equal(value, again[key]) for key, value in first.items())


def check_size(name):
    with torch.device("meta"):
        model = sf.create_model(name)
        again = sf.create_model(**json.loads(json.dumps(model.config)))
        outputs = model.eval().forward_outputs(torch.empty(1, *model.image_shape))
    assert model.task == task_of(name)
    assert model.config["name"] == name
    assert again.config == model.config
    assert repr(again) == repr(model)
    assert next(iter(outputs.values())).shape[0] == 1


@pytest.mark.parametrize("head", HEADS)
def test_lean_training_is_the_same(head):
    plain, lean = build(head, "qkformer_10_384"), sf.recompute_blocks(build(head, "qkformer_10_384"))
    lean.load_state_dict(plain.state_dict())
    x, targets = scene()
    gradients = []
    for model in (plain, lean):
        torch.manual_seed(0)
        loss(model, x, targets).backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), lean.buffers(), strict=True))


def test_parts_of_a_users_own_are_checked():
    sf.models.check_model(build("retinanet"))
    with pytest.raises(ValueError, match=r"Thirds \(neck\.lateral\.\d\.neuron\) breaks the contract"):
        sf.models.check_model(build("retinanet", neck_neuron=Thirds))


@pytest.mark.parametrize(
    ("head", "argument"),
    [
        *(("mask_rcnn", name) for name in ("num_classes", "image_size", "neck_dim", "head_dim", "anchor_scale")),
        ("retinanet", "head_depth"),
        ("fpn", "pyramid"),
    ],
)
def test_numbers_that_cannot_be(head, argument):
    wrong = [0, -24, float("nan"), "two", [1], [32, 48, 3], [32, 0], [32, "a"]]
    for value in [*wrong, *([None] if argument != "pyramid" else [])]:  # which is then the trunk's
        with pytest.raises(ValueError, match=argument) as error, torch.device("meta"):
            build(head, **{argument: value})
        assert "\n" not in str(error.value)


def test_a_neuron_in_the_neck_can_be_compared():
    model = {"name": "retinanet_sdt_v3_5m", **TRUNKS["sdt_v3_5m"], "neck_dim": 16}
    variants = combinations(model, {"neck_neuron": ["LIF", {"part": "LIF", "tau": 4.0}, "PLIF"]})
    assert [variant.name for variant in variants] == ["LIF", "LIF(tau=4.0)", "PLIF"]
    kinds = [type(sf.create_model(**variant.model).neck.smooth[0].neuron).__name__ for variant in variants]
    assert kinds == ["LIF", "LIF", "PLIF"]


def test_names():
    assert task_of("sdt_v3_5m") == "classification"
    assert {"mask_rcnn_sdt_v3_19m", "retinanet_qkformer_10_384", "retinanet_spikformer_8_512"} <= {*DENSE}
    assert not [name for name in DENSE if "_mae_" in name]
    assert not {*DENSE} & {*sf.list_models()}
    with pytest.raises(ValueError, match="no model 'retinanet_sdt_v3_6m': did you mean retinanet_sdt_v3_5m"):
        sf.create_model("retinanet_sdt_v3_6m")
    with pytest.raises(ValueError, match="no task 'boxes': choose one of classification, detection, segmentation"):
        sf.list_models(task="boxes")


def mine(
    *, dim: int = 32, num_classes: int = 10, image_size: int = 32, time_steps: int = 1, neuron: MakeNeuron = LIF
) -> SpikingTransformer:
    blocks = [Membrane(dim, dim, neuron, 1), Membrane(dim, 2 * dim, neuron, 2)]
    return SpikingTransformer(
        stem=SPS(3, dim, neuron, (2, 2, 2)),
        blocks=blocks,
        stages=[Stage(0, dim, 8), Stage(1, 2 * dim, 16)],
        head=Head(2 * dim, num_classes, neuron),
        time_steps=time_steps,
        image_size=image_size,
    )


def test_a_family_of_a_users_own_carries_the_heads_too(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", {})
    registry.register(mine, {"mine_32": {}})
    assert sf.list_models(task="segmentation") == ["fpn_mine_32"]
    model = sf.create_model("fpn_mine_32", num_classes=2, neck="FPN", pyramid=(8, 16))
    assert model(scene()[0]).shape == (2, 2, *SIZE)


def test_a_file_of_a_classifier_fills_the_trunk(tmp_path, caplog):
    trunk = sf.create_model("sdt_v3_5m", **TRUNKS["sdt_v3_5m"])
    file = tmp_path / "trunk.safetensors"
    sf.checkpoints.save_pretrained(trunk, file)
    model = build("retinanet")
    head = {key: value.clone() for key, value in model.state_dict().items() if key.startswith(("neck.", "head."))}
    sf.load_checkpoint(model, file)
    ours = model.state_dict()
    assert all(torch.equal(ours[key], value) for key, value in trunk.state_dict().items() if key.startswith("blocks."))
    assert all(torch.equal(ours[key], value) for key, value in head.items())
    assert "holds a classifier: neck and head are new" in caplog.text


@pytest.mark.parametrize("head", HEADS)
def test_saved_and_loaded(head, tmp_path, caplog):
    model, (x, _) = build(head).eval(), scene()
    sf.save_pretrained(model, tmp_path / "run")
    again = sf.from_pretrained(tmp_path / "run")
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"pipeline_tag: {'image-segmentation' if head == 'fpn' else 'object-detection'}\n" in card
    assert "| input | 3 x 40 x 56 |" in card
    assert " on Spike-driven Transformer V3" in card
    found = again.forward_outputs(x)
    assert all(torch.equal(value, found[name]) for name, value in model.forward_outputs(x).items())
    wider = build(head, num_classes=5)
    sf.load_checkpoint(wider, tmp_path / "run")
    assert "has 2 classes: a new head for 5" in caplog.text
    ours, theirs = wider.state_dict(), model.state_dict()
    new = [key for key in ours if ours[key].shape != theirs[key].shape or not torch.equal(ours[key], theirs[key])]
    assert {key.rpartition(".")[2] for key in new} == {"weight", "bias"}
    assert len(new) in (2, 4)  # Mask R-CNN has two ends


def test_wrong_inputs():
    model, (x, targets) = build("retinanet"), scene()
    with pytest.raises(ValueError, match=r"16 x 56 is smaller than the largest stride 32: .* pyramid=\(8, 16\)"):
        model(x[..., :16, :], targets)
    with pytest.raises(ValueError, match=r"a detector in training needs targets: .*model\.eval"):
        model(x)
    with pytest.raises(ValueError, match="1 targets do not match 2 images"):
        model(x, targets[:1])
    with pytest.raises(ValueError, match=r"image 1 has labels \[3\], the model has 2 classes from 0: .*num_classes=4"):
        model(x, [targets[0], {**targets[1], "labels": torch.tensor([3])}])
    with pytest.raises(ValueError, match="image 0 has a box of no area"):
        model(x, [{**targets[0], "boxes": torch.tensor([[3.0, 3, 3, 9]])}, targets[1]])
    with pytest.raises(ValueError, match="image 0 has no masks to learn from"):
        build("mask_rcnn")(x, [{key: t[key] for key in ("boxes", "labels")} for t in targets])
    boxes, labels = targets[0]["boxes"], targets[0]["labels"]
    for key, value, says in (
        ("boxes", torch.tensor([]), r"boxes float32 \[0\], not float \[N, 4\]: give \[0, 4\] for none"),
        ("boxes", boxes.tolist(), r"boxes \[\[.*, not float"),
        ("boxes", boxes.int(), r"boxes int32 \[\d, 4\], not float"),
        ("boxes", torch.nn.functional.pad(boxes, (0, 1)), r"boxes float32 \[\d, 5\], not"),
        ("boxes", boxes.where(boxes > boxes.min(), torch.nan), "a box of no area"),
        ("boxes", boxes.where(boxes < boxes.max(), torch.inf), "a box with an infinite corner"),
        ("labels", labels[:, None], r"labels int64 \[\d, 1\], not int64 \[N\]"),
        ("labels", labels.float(), r"labels float32 \[\d\], not int64"),
    ):
        with pytest.raises(ValueError, match=f"^image 0 has {says}"):
            model(x, [{**targets[0], key: value}, targets[1]])
    masks = targets[0]["masks"]
    for other in (masks[:0], masks[:, ::2, ::2], masks.transpose(1, 2), masks[0]):
        with pytest.raises(ValueError, match=r"^image 0 has masks uint8 .* give one for each box"):
            build("mask_rcnn")(x, [{**targets[0], "masks": other}, targets[1]])
    with pytest.raises(ValueError, match=r"an input of shape"):
        model(x[0], targets[:1])
    for other, says in (
        (x.byte(), "scaled like the training"),
        (x.double(), "use x.to"),
        (x[None][:0], "has no steps"),
    ):
        with pytest.raises(ValueError, match=rf"^an input of .*{says}"):
            model.eval()(other)
    model.train()
    with pytest.raises(TypeError, match="forward_steps is for classifiers and this model is for detection"):
        model.forward_steps(x)


def test_a_flat_trunk_gets_finer_levels_whatever_its_depth():
    for head, usual in (
        ("retinanet", (8, 16, 32, 64, 128)),
        ("fpn", (4, 8, 16, 32)),
        ("mask_rcnn", (4, 8, 16, 32, 64)),
    ):
        for depth in (1, 2):
            with torch.device("meta"):
                model = sf.create_model(f"{head}_spikformer_8_384", depth=depth)
            assert model.pyramid == usual


def test_wrong_pyramids():
    with pytest.raises(ValueError, match=r"pyramid \(8, 16, 64\) does not double"):
        build("fpn", pyramid=(8, 16, 64))
    with pytest.raises(ValueError, match="lacks 16, the stride of the trunk's last stage"):
        build("fpn", pyramid=(4, 8))
    with pytest.raises(ValueError, match=r"\(2, 4, 8, 16\) does not begin with the strides .*SimplePyramid"):
        build("fpn", "qkformer_10_384", pyramid=(2, 4, 8, 16))
    with pytest.raises(ValueError, match="num_classes 0 is below 1"):
        build("fpn", num_classes=0)


@pytest.mark.parametrize("head", ["retinanet", "mask_rcnn"])
def test_boxes_keep_float32_under_autocast(head):
    numbers = dict(num_classes=3, image_size=(64, 96), neck_dim=32, head_depth=1, pyramid=(8, 16, 32))
    numbers |= {"head_dim": 16} if head == "mask_rcnn" else {}
    model = sf.create_model(f"{head}_sdt_v3_5m", **TRUNKS["sdt_v3_5m"], **numbers).eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        outputs, found = model.forward_outputs(torch.randn(1, 3, 64, 96)), model(torch.randn(1, 3, 64, 96))
    assert outputs["boxes"].dtype == outputs["scores"].dtype == torch.float32
    assert all(each["boxes"].dtype == each["scores"].dtype == torch.float32 for each in found)
    rpn = getattr(model.head, "rpn", model.head)
    assert {cell.dtype for cell in rpn.anchor_generator.cell_anchors} == {torch.float32}
