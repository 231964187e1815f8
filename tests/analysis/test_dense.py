"""Operations, firing and reports of detectors and segmenters."""

import pytest
import torch

import spikeformers as sf
from spikeformers.analysis import FiringRates, audit, audit_model, bench, profile
from spikeformers.analysis.inference_ways import inference_way
from spikeformers.analysis.report import write_report

HEADS = {"retinanet": dict(head_depth=1), "mask_rcnn": dict(head_depth=1, head_dim=16), "fpn": {}}
TINY = dict(dims=(32, 32, 32, 32), depths=(1, 1), num_heads=2, num_classes=2, image_size=(40, 56), neck_dim=16)


@pytest.fixture(params=HEADS)
def model(request):
    """A detector or segmenter that spikes, and two images."""
    model = sf.create_model(f"{request.param}_sdt_v3_5m", pyramid=(8, 16, 32), **TINY, **HEADS[request.param])
    x = torch.randn(2, 3, 40, 56)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    model.forward_outputs(x)
    if request.param == "mask_rcnn":
        model.head.roi_heads.score_thresh = 0.0
    return model.eval(), x


few = pytest.mark.parametrize(
    "model",
    ["retinanet", *(pytest.param(head, marks=pytest.mark.slow) for head in ("mask_rcnn", "fpn"))],
    indirect=True,
)


def products(layers, model):
    """Multiplications of the convolutions with weights, by the part that they are in."""
    parts = {}
    for layer in layers:
        if layer.op == "convolution":
            part = layer.name.partition(".")[0]
            parts[part] = parts.get(part, 0) + layer.macs
    return parts


def test_every_convolution_is_counted(model):
    """The convolutions of neck and head, by hand from the shapes that they see."""
    model, x = model
    wanted = {}

    def count(name):
        def hook(module, inputs, output):
            pixels = (inputs[0] if isinstance(module, torch.nn.ConvTranspose2d) else output)[:, 0].numel()
            part = name.partition(".")[0]
            wanted[part] = wanted.get(part, 0) + pixels * module.weight.numel() // module.groups

        return hook

    chains = {name for name, module in model.named_modules() if type(module).__name__ == "RepConv"}
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{chain}.") for chain in chains)
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d) and not inside:
            module.register_forward_hook(count(name))
    found = profile(model, [x])
    counted = products(found.layers, model)
    assert counted["neck"] == wanted["neck"]
    assert counted["head"] == wanted["head"]
    assert found.uncounted == []


def test_only_spikes_reach_the_convolutions(model):
    model, x = model
    findings = {finding.layer.name: finding for finding in audit(profile(model, [x]))}
    convs = {name: f for name, f in findings.items() if f.layer.op == "convolution" and not f.layer.role}
    assert {name.partition(".")[0] for name in convs} >= {"blocks", "neck", "head"}
    assert {f.verdict for f in convs.values()} <= {"counts", "additions", "silent"}


def test_a_head_on_regions_passes_at_every_step_whatever_their_number():
    spiking = dict.fromkeys(("neuron", "neck_neuron", "head_neuron"), "LIF")
    model = sf.create_model(
        "mask_rcnn_sdt_v3_5m", **TINY, **HEADS["mask_rcnn"], **spiking, pyramid=(8, 16, 32), time_steps=4
    )
    model.head.roi_heads.score_thresh = 0.0
    for size in (1, 3):
        found = profile(model.eval(), [torch.randn(size, 3, 40, 56)])
        assert {layer.passes for layer in found.layers if layer.op in ("convolution", "linear")} == {4}


def test_firing_rates(model):
    model, x = model
    with FiringRates(model) as firing:
        model(x)
    rates = firing.by_block()
    assert rates["neck"] > 0
    assert rates["head"] > 0


def test_bench(model):
    model, x = model
    (speed,) = bench({"plain": model}, x, repeats=1)
    assert speed.training > 0
    assert speed.evaluation > 0


@few
def test_bench_of_an_engine(model):
    model, x = model
    speeds = bench({"plain": model, "engine": inference_way("engine", model, x)}, x, repeats=1)
    assert [speed.training is None for speed in speeds] == [False, True]
    assert all(speed.evaluation > 0 for speed in speeds)
    with pytest.raises(ValueError, match=f"onnxruntime is timed for classifiers: .* export times {model.task}"):
        inference_way("onnxruntime", model, x)


@few
def test_nothing_leaks_and_gradients_reach_all_that_is_not_of_regions(model):
    model, x = model
    outcome = audit_model(model, x, skip=("spike-driven", "determinism"))
    assert [check.name for check in outcome.checks if not check.checked] == ["time leak"]  # of one step
    assert [found for check in outcome.checks for found in check.found] == []
    assert ("audited" in outcome.about) == (model.task == "detection")
    assert "forward" not in vars(model) and all(p.requires_grad for p in model.parameters())


def test_a_network_of_relu_spikes_nowhere_and_has_a_report(tmp_path):
    model = sf.create_model("fpn_sdt_v3_5m", pyramid=(8, 16, 32), neuron="torch.nn:ReLU", **TINY)
    x = torch.randn(2, 3, 40, 56)
    report = write_report(model.eval(), [(x, None)], tmp_path / "report", shown=1)
    assert report.profile.activity == [] and report.profile.total("strict").mac > 0
    assert not (tmp_path / "report" / "pictures" / "raster.svg").exists()
    with pytest.raises(ValueError, match="no neuron layer 'stem': nothing in this model spikes"):
        write_report(model, [(x, None)], tmp_path / "other", raster="stem")


def test_report(model, tmp_path):
    model, x = model
    report = write_report(model, [(x, None)], tmp_path / "report", shown=1)
    assert report.top1 is None
    assert report.profile.samples == 2
    page = (tmp_path / "report" / "index.html").read_text()
    assert "accuracy on these inputs" not in page
    assert f"a model for {model.task} has no class to read out" in page
    assert (tmp_path / "report" / "pictures" / "raster.svg").is_file()


@pytest.mark.parametrize("model", ["retinanet"], indirect=True)
def test_a_report_may_show_no_input(model, tmp_path):
    """A detector cannot run on a batch without images."""
    model, x = model
    write_report(model, [(x, None)], tmp_path / "report", shown=0)
    pictures = {path.name for path in (tmp_path / "report" / "pictures").iterdir()}
    assert pictures == {"depth.svg", "raster.svg"}
