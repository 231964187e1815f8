"""The table of formats, what their files share, and the formats whose packages the tests do not install.

The slow tests need `pip install 'spikeformers[litert]'` and `'spikeformers[executorch]'`, each in an environment of its
own, and skip without them.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import FAMILIES

import spikeformers as sf
from spikeformers.deploy.exporting import Format
from spikeformers.deploy.formats import FORMATS, format_of, module_of
from spikeformers.deploy.formats.files import ExportedModel, attach, attached

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "preprocess": {"image_size": 16, "mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "crop_pct": 1},
    "classes": ["left", "right", "top"],
}
TINY = dict(dim=16, depth=1, num_heads=2, strides=(2, 2, 1, 1), time_steps=2, image_size=16, num_classes=3)


class Sums(ExportedModel):
    """A format of one sample at a time: logits of a sum that a step keeps."""

    kind, runtime, package, alone = "Sums", "math", "numpy", True

    def _load(self, runtime, path, threads):
        return attached(path)

    def _run(self, inputs):
        assert all(x.flags.c_contiguous and x.flags.writeable for x in inputs)
        x, *state = inputs
        if self.form == "whole":
            assert x.shape[-4] == 1
            return [x.sum((-2, -1)), x]
        assert len(x) == 1
        total, count = state[0] + x.sum((2, 3)), state[1] + 1
        return [x.sum((2, 3)), total / count, total, count]


@pytest.fixture
def sums(tmp_path):
    def sums(**settings):
        path = tmp_path / "model.sums"
        path.write_bytes(b"\0weights")
        attach(path, json.dumps({"time_steps": 2, "in_channels": 3, "num_classes": 3} | settings))
        assert path.read_bytes().startswith(b"\0weights")
        return Sums(path)

    return sums


def test_the_table_and_what_it_names():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert get_args(Format) == (*FORMATS,)
    for name, one in FORMATS.items():
        module = module_of(name)
        assert callable(module.write) and issubclass(getattr(module, one.model), ExportedModel)
        assert format_of(f"Model{one.endings[0].upper()}") == (name if one.predicts else None)
        assert bool(one.needs) == bool(one.extra)
        brought = " ".join(extras.get(one.extra, [])).replace("-", "_") + " ".join(extras["onnx"])
        assert all(package in brought for package in one.needs)


def test_formats_are_told_apart_without_importing_any():
    heavy = {"torch", "onnxruntime", "openvino", "litert_torch", "ai_edge_litert", "executorch"}
    script = f"import sys; from spikeformers.deploy.formats import FORMATS, module_of; [*map(module_of, FORMATS)]\n\
print({heavy} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("file", "module", "package"),
    [
        ("a.onnx", "onnxruntime", "onnxruntime"),
        ("a.xml", "openvino", "openvino"),
        ("a.tflite", "ai_edge_litert.interpreter", "ai-edge-litert"),
        ("a.pte", "executorch.runtime", "executorch"),
    ],
)
def test_a_file_whose_library_is_missing(file, module, package, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"^{file} needs {package}: pip install {package}$"):
        sf.deploy.Predictor(file)


def test_a_file_for_one_sample_gets_a_batch_in_turn(sums):
    x = np.random.default_rng(0).random((5, 3, 4, 4), np.float32)
    logits, same = sums().outputs(x)
    np.testing.assert_array_equal(logits, x.sum((2, 3)))
    np.testing.assert_array_equal(same, x)


def test_a_step_for_one_sample_keeps_a_state_each(sums):
    model = sums(form="step", state=[["logits.sum", [3], "float32", 0], ["logits.count", [1], "float32", 0]])
    frames = np.random.default_rng(0).random((4, 5, 3, 2, 2), np.float32)
    np.testing.assert_allclose(model(frames), frames.sum((3, 4)).mean(0), rtol=1e-6)
    np.testing.assert_allclose(model(frames[0]), frames[0].sum((2, 3)), rtol=1e-6)  # an image, shown time_steps times
    with pytest.raises(ValueError, match=r"model\.sums takes one sample at a time, not 2: keep a state for each"):
        model.initial(2)
    with pytest.raises(ValueError, match=r"takes one sample at a time, not 5"):
        model.step(frames[0], model.initial())


def test_settings_at_the_end_of_a_file(tmp_path):
    file = tmp_path / "a.tflite"
    file.write_bytes(bytes(range(256)))
    assert attached(file) is None
    attach(file, "Ä")
    assert attached(file) == "Ä"
    assert file.read_bytes()[:256] == bytes(range(256))


@pytest.fixture
def trained(lively):
    model = sf.create_model("spikformer", **TINY)
    x = torch.randn(32, 3, 16, 16)
    return lively(model, x), x


def images(folder, x):
    files = [folder / f"{i}.png" for i in range(len(x))]
    for file, one in zip(files, x, strict=True):
        pixels = ((one * 0.25 + 0.5) * 255).clip(0, 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(file)
    return files


@pytest.mark.slow
@pytest.mark.parametrize("form", ["whole", "step"])
@pytest.mark.parametrize("to", ["litert", "executorch"])
def test_a_file_answers_as_its_model(to, form, trained, tmp_path):
    """Needs `pip install 'spikeformers[litert]'`, or `[executorch]`."""
    pytest.importorskip(FORMATS[to].needs[0])
    model, x = trained
    made = sf.deploy.export(model, tmp_path, to, form=form, inputs=x, settings=SETTINGS)
    assert made.agreement >= 0.95 and str(made).endswith("MB; takes one input at a time")
    assert {path.name for path in tmp_path.iterdir()} == {made.path.name}
    files = images(tmp_path, x[:4])
    sf.save_pretrained(model, tmp_path / "weights.safetensors", **SETTINGS)
    expected, said = (sf.deploy.Predictor(path)(files) for path in (tmp_path / "weights.safetensors", made.path))
    assert len({confidence for (_, confidence), *_ in expected}) == 4
    for one, other in zip(expected, said, strict=True):
        assert dict(one) == pytest.approx(dict(other), abs=1e-3)
    broken = tmp_path / made.path.with_stem("broken").name
    broken.write_bytes(made.path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"broken\.\w+ is no (LiteRT|ExecuTorch) file that [\w-]+ [\d.]+ runs"):
        sf.deploy.Predictor(broken)
    if to == "litert":  # the runtime of executorch imports torch
        script = "import sys; import spikeformers as sf; sf.deploy.Predictor(sys.argv[1])(sys.argv[2:])\n\
assert 'torch' not in sys.modules"
        subprocess.run([sys.executable, "-c", script, made.path, *files], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["litert", "executorch"])
@pytest.mark.parametrize("tiny", FAMILIES, indirect=True)
def test_every_family(tiny, to, tmp_path):
    """Needs `pip install 'spikeformers[litert]'`, or `[executorch]`."""
    pytest.importorskip(FORMATS[to].needs[0])
    model, x = tiny
    made = sf.deploy.export(model, tmp_path, to, inputs=x)
    assert made.agreement == 1
