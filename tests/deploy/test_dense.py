"""Detectors and segmenters in use: exported files and the spike engine."""

import pytest
import torch

import spikeformers as sf

HEADS = {"retinanet": dict(head_depth=1), "mask_rcnn": dict(head_depth=1, head_dim=16), "fpn": {}}
TINY = dict(dims=(32, 32, 32, 32), depths=(1, 1), num_heads=2, num_classes=2, image_size=(40, 56), neck_dim=16)


def made(head, **overrides):
    """A model in eval mode that spikes, and four images."""
    model = sf.create_model(f"{head}_sdt_v3_5m", pyramid=(8, 16, 32), **{**TINY, **HEADS[head], **overrides})
    x = torch.randn(4, 3, 40, 56)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    model.forward_outputs(x)
    if head == "mask_rcnn":
        model.head.roi_heads.score_thresh = 0.0
    return model.eval(), x


@pytest.mark.parametrize(
    ("head", "to"),
    [("retinanet", "torch"), *(pytest.param(head, "onnx", marks=pytest.mark.slow) for head in HEADS)],
)
def test_export(head, to, tmp_path):
    model, x = made(head)
    exported = sf.deploy.export(model, tmp_path, to, inputs=x)
    assert exported.agreement == 1
    assert exported.largest < 1e-4
    counted = "the pixels of 4 inputs get the model's class" if head == "fpn" else "the anchors of 4 inputs score as"
    assert f"100.00% of {counted}" in str(exported)
    if to == "torch":
        scores, boxes = torch.export.load(exported.path).module()(x[:3])
        wanted = model.forward_outputs(x[:3])
        assert torch.allclose(scores, wanted["scores"], atol=1e-5)
        assert torch.allclose(boxes, wanted["boxes"], atol=1e-3)
        return
    import onnxruntime

    session = onnxruntime.InferenceSession(exported.path)
    assert [output.name for output in session.get_outputs()] == [*model.forward_outputs(x)]


@pytest.mark.parametrize(
    "head", ["fpn", *(pytest.param(h, marks=pytest.mark.slow) for h in ("retinanet", "mask_rcnn"))]
)
def test_engine(head):
    model, x = made(head)
    engine = sf.deploy.spike_engine(model, x)
    assert engine.foreign == (f"head ({type(model.head).__name__})",)
    with torch.no_grad():
        for ours, theirs in zip(engine.engine.forward_pyramid(x), model.forward_pyramid(x), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4)
        found, wanted = engine(x[:1]), model(x[:1])
    if head == "fpn":
        assert torch.allclose(found, wanted, atol=1e-4)
    else:
        assert [{key: value.shape for key, value in each.items()} for each in found] == [
            {key: value.shape for key, value in each.items()} for each in wanted
        ]


@pytest.mark.slow
def test_an_engine_names_the_neurons_that_torch_computes():
    model, x = made("fpn", neck_neuron="CLIF", time_steps=2)
    engine = sf.deploy.spike_engine(model, x)
    assert engine.foreign[0] == "neck.lateral.0.neuron (CLIF)"
    assert not any(name.startswith("blocks.") for name in engine.foreign)


def test_what_needs_a_class_refuses_a_detector_and_leaves_no_folder(tmp_path):
    model, x = made("retinanet")
    with pytest.raises(ValueError, match="int8 export is for classifiers, but this model is for detection: export it"):
        sf.deploy.quantize(model, tmp_path / "new", inputs=x)
    with pytest.raises(ValueError, match="a model for detection has no running answer: give a classifier"):
        sf.deploy.export(model, tmp_path / "new", form="step", inputs=x)
    assert not (tmp_path / "new").exists()
