"""Exported files: what they answer, what they carry, and when they are refused."""

import contextlib
import io
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_recordings
import torch
from PIL import Image
from tiny_models import FAMILIES
from tiny_runs import write_images

import spikeformers as sf
from spikeformers.cli import main
from spikeformers.data.eval_shards import NOT_COUNTED
from spikeformers.deploy import exporting
from spikeformers.deploy.formats import onnx as onnx_format
from spikeformers.deploy.formats import openvino as openvino_format
from spikeformers.deploy.formats.files import METADATA
from spikeformers.deploy.formats.graph import step_graph
from spikeformers.deploy.formats.onnx import OnnxModel
from spikeformers.deploy.threads import free_threads
from spikeformers.evaluation.test_set import TestSet

PREPROCESS = {"image_size": 16, "mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "crop_pct": 1.0}
TINY = dict(dim=16, depth=1, num_heads=2, strides=(2, 2, 1, 1), time_steps=2, image_size=16, num_classes=3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, lively):
    """A checkpoint of a small model with class names, and a folder of images that it may be tested on."""
    folder = tmp_path_factory.mktemp("trained")
    images = write_images(folder / "set", train=1)
    torch.manual_seed(0)
    model = sf.create_model("spikformer", **TINY)
    lively(model, torch.randn(32, 3, 16, 16) - 0.8)  # as dark as the images
    for conv in (m for m in model.modules() if isinstance(m, torch.nn.Conv2d)):  # weights that int8 holds exactly
        unit = conv.weight.detach().abs().amax((1, 2, 3), keepdim=True) / 127
        conv.weight.data.div_(unit).round_().mul_(unit)
    settings = {
        "preprocess": PREPROCESS,
        "classes": ["left", "right", "top"],
        "recipe": {"data": {"name": str(images)}},
    }
    return sf.save_pretrained(model, folder / "weights.safetensors", **settings), images


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The file that the command writes, and what it prints."""
    file, images = trained
    out = tmp_path_factory.mktemp("exported")
    with pytest.raises(SystemExit) as left, contextlib.redirect_stdout(io.StringIO()) as printed:
        main(["export", str(file), "--out", str(out), "--data", str(images)])
    assert left.value.code == 0
    assert [path.name for path in out.iterdir()] == ["model.onnx"]
    return out / "model.onnx", printed.getvalue()


@pytest.fixture(scope="module")
def onnx_file(exported):
    return exported[0]


@pytest.fixture(scope="module")
def step_and_scan(trained, tmp_path_factory):
    """Both files, of one traced step: tracing takes as long as all else."""
    file, _ = trained
    out = tmp_path_factory.mktemp("step")
    traced = []

    def once(step, inputs, form):
        traced.append(traced[0]._replace(form=form) if traced else step_graph(step, inputs, form))
        return traced[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "step_graph", once)
        for form in ("step", "scan"):
            with pytest.raises(SystemExit) as left:
                main(["export", str(file), "--out", str(out), "--form", form])
            assert left.value.code == 0
    assert {path.name for path in out.iterdir()} == {"step.onnx", "scan.onnx"}
    return out / "step.onnx", out / "scan.onnx"


def test_an_onnx_file_answers_as_its_checkpoint(trained, onnx_file):
    checkpoint, images = trained
    files = sorted(images.rglob("*.png"))
    expected, said = sf.deploy.Predictor(checkpoint)(files), sf.deploy.Predictor(onnx_file)(files)
    assert len({confidence for (_, confidence), *_ in expected}) > 1
    for one, other in zip(expected, said, strict=True):
        assert dict(one) == pytest.approx(dict(other), abs=1e-5)
    (alone,) = sf.deploy.Predictor(onnx_file, threads=1)([Image.open(files[0])])  # a batch of one, too
    assert dict(alone) == pytest.approx(dict(said[0]), abs=1e-6)


def test_a_step_in_a_file_runs_from_its_metadata_alone(trained, step_and_scan):
    (checkpoint, images), (step_file, _) = trained, step_and_scan
    files = sorted(images.rglob("*.png"))
    expected, said = sf.deploy.Predictor(checkpoint)(files), sf.deploy.Predictor(step_file)(files)
    assert len({confidence for (_, confidence), *_ in expected}) > 1
    for one, other in zip(expected, said, strict=True):
        assert dict(one) == pytest.approx(dict(other), abs=1e-5)
    model, network = OnnxModel(step_file), sf.deploy.Predictor(checkpoint).model
    frames = torch.randn(5, 2, 3, 16, 16) - 0.8
    state = model.initial(2)
    assert {"logits.sum", "logits.count", "stem.stages.0.neuron.v"} <= {*state}
    for frame, now in zip(frames, network.forward_steps(frames), strict=True):
        logits, mean, state = model.step(frame.numpy(), state)
        np.testing.assert_allclose(logits, now.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(mean, network(frames).detach().numpy(), atol=1e-5)


def test_a_scan_takes_any_number_of_steps_and_samples(trained, step_and_scan):
    (checkpoint, images), (_, scan_file) = trained, step_and_scan
    files = sorted(images.rglob("*.png"))
    for one, other in zip(*(sf.deploy.Predictor(file)(files) for file in (checkpoint, scan_file)), strict=True):
        assert dict(one) == pytest.approx(dict(other), abs=1e-5)
    network, scan = sf.deploy.Predictor(checkpoint).model, onnx.load(scan_file)
    onnx.checker.check_model(scan, full_check=True)
    assert [node.op_type for node in scan.graph.node].count("Scan") == 1
    session = onnxruntime.InferenceSession(scan_file)
    for steps, batch in ((1, 1), (6, 3)):
        frames = torch.randn(steps, batch, 3, 16, 16) - 0.8
        mean, each = session.run(["logits", "logits.steps"], {"x": frames.numpy()})
        np.testing.assert_allclose(mean, network(frames).detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(each, network.forward_steps(frames).detach().numpy(), atol=1e-5)
    assert each.std(0).max() > 1e-3


@pytest.mark.parametrize("position, neuron", [("CPGPosition", "IF"), ("ConvPosition", "IntegerHalfEven")])
def test_a_step_of_recordings_in_torch_takes_any_batch(position, neuron, tmp_path):
    small = {**TINY, "in_channels": 2, "strides": (2, 2), "position": position, "neuron": neuron}
    model = sf.create_model("spikformer", **small).eval()
    clips = torch.poisson(torch.rand(2, 3, 2, 8, 16))  # of another size than the model's
    made = sf.deploy.export(model, tmp_path, "torch", form="step", inputs=clips)
    assert made.path == tmp_path / "step.pt2" and made.agreement == 1 and made.largest < 1e-4
    carried = {METADATA: ""}
    torch.export.load(made.path, extra_files=carried)
    settings = json.loads(carried[METADATA])
    assert settings["form"] == "step"
    assert settings["state"][1] == ["logits.count", [1], "float32", 0.0]
    assert settings["state"][4:5] == ([["position.core.t", [], "int64", 0]] if neuron == "IF" else [])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["step", "scan"])
@pytest.mark.parametrize("tiny", FAMILIES, indirect=True)
def test_every_family_exports_as_a_step_and_as_a_scan(tiny, form, tmp_path):
    model, x = tiny
    made = sf.deploy.export(model, tmp_path, form=form, inputs=x)
    run, frames = OnnxModel(made.path), torch.randn(3, 2, *x.shape[-3:])
    assert made.agreement == 1
    found = run(frames.numpy())
    assert np.abs(found - model(frames).detach().numpy()).max() < 0.05 * np.abs(found).max()  # but for a flipped spike


def test_openvino_reads_what_it_wrote(trained, onnx_file, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_format, "write", lambda *_: onnx_file)  # tracing takes as long as all else
    text = json.dumps(OnnxModel(onnx_file).settings)
    made = openvino_format.write(SimpleNamespace(name="model"), tmp_path, text)
    files = sorted(trained[1].rglob("*.png"))
    for one, other in zip(*(sf.deploy.Predictor(path)(files) for path in (onnx_file, made)), strict=True):
        assert dict(one) == pytest.approx(dict(other), abs=1e-4)


def test_int8_of_a_scan(trained, step_and_scan, tmp_path):
    """Products inside the loop run in integers too."""
    _, scan_file = step_and_scan
    made = sf.deploy.quantize(scan_file, tmp_path, inputs=torch.randn(5, 16, 3, 16, 16) - 0.8)
    assert made.path == tmp_path / "scan-int8.onnx"
    assert made.integers == 10 and made.agreement >= 0.9  # as many as in a file of all steps


def test_predicting_with_an_onnx_file_imports_no_torch(trained, onnx_file):
    script = (
        "import sys; from spikeformers.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print({'torch', 'torchvision'} & {*sys.modules}, file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, "predict", str(onnx_file), str(trained[1] / "test"), "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stderr.strip() == "set()"
    rows = json.loads(run.stdout)
    assert len(rows) == 12
    assert {top["label"] for row in rows for top in row["top"]} == {"left", "right", "top"}


def test_the_report_gives_agreement_speed_and_size(exported):
    file, printed = exported
    (line,) = printed.splitlines()
    assert line.startswith(f"{file}: 100.00% of 12 inputs get the model's class, logits differ by at ")
    assert line.endswith(" MB")


def test_the_check_sees_all_classes_and_no_broken_file(trained, tmp_path, monkeypatch):
    """Of a set sorted by class, with less than twice as many files as are checked."""
    checkpoint, _ = trained
    seen = {}
    monkeypatch.setattr("spikeformers.deploy.quantizing.quantize", lambda model, folder, **given: seen.update(given))
    monkeypatch.setattr("spikeformers.cli.export._CHECKED_INT8", 8)
    words = ["export", str(checkpoint), "--int8", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0
    assert seen["labels"] == [0, 0, 0, 1, 1, 1, 2, 2] and seen["inputs"].shape == (8, 3, 16, 16)
    labels = {0: 0, 1: NOT_COUNTED, 3: 2}  # the second cannot be read, and another stands in for it
    prepared = lambda self, model, chosen: [(torch.zeros(3, 16, 16), labels.get(i, 1)) for i in chosen]  # noqa: E731
    monkeypatch.setattr(TestSet, "prepared", prepared)
    with pytest.raises(SystemExit):
        main(words)
    assert seen["labels"] == [0, 2, 1, 1, 1, 1, 1] and len(seen["inputs"]) == 7


def test_the_check_leaves_out_a_broken_recording(tmp_path, monkeypatch):
    """A broken image is replaced by another; of recordings there are fewer then."""
    for name in ("train/left/0", "train/right/0", "test/left/0", "test/left/1", "test/right/0"):
        tiny_recordings.write(tmp_path / "set" / f"{name}.npz", tiny_recordings.EVENTS)
    (tmp_path / "set" / "test" / "left" / "1.npz").write_bytes(b"broken")
    recipe = {"data": {"name": str(tmp_path / "set"), "skip_broken": True, "workers": 0}}
    checkpoint = sf.save_pretrained(
        sf.create_model("spikformer", **{**TINY, "in_channels": 2, "num_classes": 2}),
        tmp_path / "weights.safetensors",
        preprocess={"image_size": 16, "time_steps": 2, "frames_by": "number", "sensor": [8, 10], "channels": 2},
        classes=["left", "right"],
        recipe=recipe,
    )
    seen = {}
    monkeypatch.setattr("spikeformers.deploy.quantizing.quantize", lambda model, folder, **given: seen.update(given))
    with pytest.raises(SystemExit) as left:
        main(["export", str(checkpoint), "--int8", "--out", str(tmp_path)])
    assert left.value.code == 0
    assert seen["labels"] == [0, 1] and seen["inputs"].shape == (2, 2, 2, 16, 16)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A model of recordings, the program that its exported file holds, and the settings there."""
    torch.manual_seed(0)
    model = sf.create_model("sdt", **{**TINY, "in_channels": 2}).eval()
    recipe = {"out": "/home/me/runs", "start_from": "/home/me/first", "distill": {"teacher": "/home/me/large"}}
    recipe |= {"data": {"name": "/home/me/cats", "root": "/home/me", "cache": "/home/me/cache"}}
    folder, clips = tmp_path_factory.mktemp("program") / "new" / "folder", torch.rand(3, 4, 2, 16, 16)
    made = sf.deploy.export(model, folder, "torch", inputs=clips, settings={"recipe": recipe})
    assert made.images == 4
    carried = {METADATA: ""}
    again = torch.export.load(made.path, extra_files=carried).module()
    return model, again, json.loads(carried[METADATA])


def test_a_file_says_how_many_steps_it_has_and_no_places_of_this_machine(program):
    model, _, settings = program
    assert settings["time_steps"] == 3 != model.time_steps
    assert settings["config"] == {**model.config, "folded": True}
    wanted = {"start_from": "first", "distill": {"teacher": "large"}, "data": {"name": "cats"}}
    assert settings["recipe"] == wanted and "/home" not in json.dumps(settings)


def test_a_program_of_recordings_takes_any_batch(program):
    model, again, _ = program
    for batch in (1, 5):
        x = torch.rand(3, batch, 2, 16, 16)
        torch.testing.assert_close(again(x), model(x), rtol=1e-4, atol=1e-4)


@pytest.fixture
def run_by(monkeypatch):
    """Has an object run what is exported, and nothing traced, which takes seconds."""

    def write(graph, folder, text):
        file = folder / "model.pt2"
        file.write_text("a program")
        return file

    def run_by(runner):
        monkeypatch.setattr(exporting, "whole_graph", lambda *_: SimpleNamespace(outputs=["logits"]))
        monkeypatch.setattr(exporting, "module_of", lambda name: SimpleNamespace(write=write))
        monkeypatch.setattr(exporting, "run_by", lambda *_: runner)

    return run_by


def test_a_check_takes_few_inputs_at_a_time(tmp_path, run_by, monkeypatch):
    model, x, sizes = sf.create_model("spikformer", **TINY).eval(), torch.randn(8, 3, 16, 16), []

    class Off:  # by the logits of the last input
        alone = False

        def outputs(self, given):
            sizes.append(len(given))
            y = model(torch.from_numpy(given)).numpy().copy()
            if len(given) == 2:
                y[1] += 0.25
            return [y]

    run_by(Off())
    monkeypatch.setattr(exporting, "_AT_ONCE", 3)
    exported = sf.deploy.export(model, tmp_path, "torch", inputs=x)
    assert sizes[:3] == [3, 3, 2] and {*sizes[3:]} == {1}
    assert exported.agreement == 1 and exported.largest == pytest.approx(0.25) and exported.images == 8


def test_too_little_memory_is_no_fault_of_the_format(tmp_path, run_by):
    class Greedy:
        def outputs(self, x):
            raise MemoryError

    run_by(Greedy())
    with pytest.raises(MemoryError):
        sf.deploy.export(sf.create_model("spikformer", **TINY).eval(), tmp_path / "new", "torch")
    assert not (tmp_path / "new").exists()


def test_a_file_that_disagrees_is_not_written(tmp_path, run_by):
    class Wrong:
        def outputs(self, x):
            return [np.eye(3, dtype=np.float32)[:1].repeat(len(x), 0)]

    run_by(Wrong())
    model = sf.create_model("spikformer", **TINY).eval()
    with torch.no_grad():
        model.head.linear.bias.copy_(torch.tensor([0.0, 9.0, 0.0]))
    (tmp_path / "model.pt2").write_text("an earlier one")
    with pytest.raises(ValueError, match=r"not written: only 0\.0% of 16 images of noise get the model's class"):
        sf.deploy.export(model, tmp_path, "torch")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("model.pt2", "an earlier one")]


@pytest.mark.parametrize(
    ("classes", "number", "said"),
    [
        (3, float("nan"), "the exported file answers with numbers that are not finite"),
        (1, float("inf"), "the exported file answers with numbers that are not finite"),
        (1, 999.0, r"not written: only [0-9.]+% of 20 inputs"),  # a single class is always the highest
    ],
)
def test_a_file_that_answers_otherwise_on_a_few_inputs(tmp_path, run_by, classes, number, said):
    model = sf.create_model("spikformer", **TINY | {"num_classes": classes}).eval()

    class Odd:
        def outputs(self, x):
            y = model(torch.from_numpy(x)).detach().numpy().copy()
            y[:2, 0] = number
            return [y]

    run_by(Odd())
    with pytest.raises(ValueError, match=said):
        sf.deploy.export(model, tmp_path, "torch", inputs=np.random.default_rng(0).standard_normal((20, 3, 16, 16)))


def test_a_model_of_other_precision_is_exported_in_float32(tmp_path):
    model = sf.create_model("spikformer", **TINY).eval()
    found = sf.deploy.export(model.bfloat16(), tmp_path, "torch", inputs=np.zeros((2, 3, 16, 16)))
    assert found.agreement == 1
    assert torch.export.load(found.path).module()(torch.zeros(1, 3, 16, 16)).dtype == torch.float32
    with pytest.raises(ValueError, match=r"inputs of shape \[0, 3, 16, 16\] hold nothing to check the file by"):
        sf.deploy.export(model, tmp_path / "none", "torch", inputs=torch.zeros(0, 3, 16, 16))


@pytest.mark.parametrize(("to", "form", "remedy"), [("litert", "step", "--to onnx"), ("onnx", "whole", "--to torch"),
                                                     ("onnx", "scan", "--form whole")])  # fmt: skip
def test_a_model_that_a_format_cannot_express(to, form, remedy, tmp_path, monkeypatch):
    def write(graph, folder, text):
        raise NotImplementedError("no lowering of\n  aten.twist")

    graph = SimpleNamespace(outputs=["logits"])
    monkeypatch.setattr(exporting, "module_of", lambda name: SimpleNamespace(write=write))
    monkeypatch.setattr(exporting, "whole_graph", lambda *_: graph)
    monkeypatch.setattr(exporting, "step_graph", lambda *_: graph)
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: True)
    model = sf.create_model("spikformer", **TINY).eval()
    line = rf"{to} cannot express this model \(NotImplementedError: no lowering of aten.twist\): take {remedy}$"
    with pytest.raises(ValueError, match=line):
        sf.deploy.export(model, tmp_path / "new", to, form=form)
    assert not (tmp_path / "new").exists()


def test_a_file_that_does_not_run_is_not_written(tmp_path, run_by):
    """As of a format that traced the batch of its example, and takes no other."""

    class Fixed:
        def outputs(self, x):
            raise RuntimeError("Target sizes: [2].\n  Tensor sizes: [16]")

    run_by(Fixed())
    line = r"torch cannot express this model \(RuntimeError: Target .* \[16\]\): take --to onnx$"
    with pytest.raises(ValueError, match=line):
        sf.deploy.export(sf.create_model("spikformer", **TINY).eval(), tmp_path / "new", "torch")
    assert not (tmp_path / "new").exists()


def test_refusals(tmp_path, monkeypatch, onnx_file):
    model = sf.create_model("spikformer", **TINY).eval()
    with pytest.raises(ValueError, match="format 'tflite' is unknown: choose onnx, openvino, torch, litert, exec"):
        sf.deploy.export(model, tmp_path, "tflite")
    with pytest.raises(ValueError, match="form 'steps' is unknown: choose whole, step, scan"):
        sf.deploy.export(model, tmp_path, form="steps")
    with pytest.raises(ValueError, match="torch has no form scan: choose onnx, or form whole"):
        sf.deploy.export(model, tmp_path, "torch", form="scan")
    with pytest.raises(ValueError, match=r"PSN \(.*neuron\) looks ahead in time, .* such as neuron=SlidingPSN"):
        sf.deploy.export(sf.create_model("spikformer", **TINY, neuron="PSN"), tmp_path, form="step")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file cannot be written"):
        sf.deploy.export(model, tmp_path / "file")
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None)
    for to, needs in {"openvino": "onnx", "litert": "litert_torch", "executorch": "executorch"}.items():
        with pytest.raises(ImportError, match=rf"export to {to} needs {needs}: pip install 'spikeformers\[{to}\]'"):
            sf.deploy.export(model, tmp_path, to)
    with pytest.raises(FileNotFoundError, match=r"there is no .*none\.onnx"):
        sf.deploy.Predictor(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(onnx_file.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"bad\.onnx is no ONNX file that onnxruntime .* runs"):
        sf.deploy.Predictor(tmp_path / "bad.onnx")
    others = onnx.load(onnx_file)
    del others.metadata_props[:]
    onnx.save(others, tmp_path / "others.onnx")
    with pytest.raises(
        ValueError, match=r"others\.onnx has no settings of spikeformers: export it by spikeformers export"
    ):
        sf.deploy.Predictor(tmp_path / "others.onnx")
    with pytest.raises(ValueError, match=r"is an exported file, which cannot be changed: leave out time_steps"):
        sf.deploy.Predictor(onnx_file, time_steps=2)


def test_noise_needs_no_set(trained, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(
            ["export", str(trained[0]), "--noise", "--data", "digits", "--root", "sets", "--out", str(tmp_path / "new")]
        )
    assert left.value.code == 2 and not (tmp_path / "new").exists()
    line = "--noise checks without a data set: leave out --noise, or --data and --root"
    assert line in capsys.readouterr().err


def test_free_threads(monkeypatch):
    assert free_threads() >= 1
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0, 0))
    assert free_threads() == 1
