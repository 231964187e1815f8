"""Weights that come with the package: by name, wherever a checkpoint is asked for."""

import json

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_models import build
from torch import nn

import spikeformers as sf
from spikeformers.checkpoints import read_checkpoint, shipped
from spikeformers.checkpoints.int8 import pack, unpack
from spikeformers.cli import main


@pytest.fixture
def own(tmp_path, monkeypatch):
    """`tiny_evening`, with weights in the package."""
    model = build("spikformer", dim=8, depth=1, num_heads=1)
    settings = {"config": model.config, "test": {"top1": 81.25}, "parameters": 7, "data": "CIFAR-10"}
    settings["preprocess"] = {"image_size": 16, "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0}
    save_file(pack(model.state_dict()), tmp_path / "tiny_evening.safetensors", {"spikeformers": json.dumps(settings)})
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path)
    return model


def test_int8_keeps_each_channel_to_a_part_of_its_largest_weight():
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3)
    conv.weight.data *= torch.logspace(-3, 1, 6).view(6, 1, 1, 1)
    conv.weight.data[2] = 0
    packed = pack(conv.state_dict())
    assert packed["weight"].dtype == torch.int8 and torch.equal(packed["bias"], conv.bias)
    again = unpack(packed)
    assert again.keys() == conv.state_dict().keys()
    most = conv.weight.abs().amax((1, 2, 3), keepdim=True)
    assert ((again["weight"] - conv.weight).abs() <= most / 254 + 1e-9).all()
    assert torch.equal(unpack(conv.state_dict())["weight"], conv.weight)


def test_a_model_by_name_has_its_weights(own):
    model = sf.create_model("tiny_evening", pretrained=True)
    for key, value in own.state_dict().items():
        assert torch.allclose(model.state_dict()[key], value, atol=float(value.abs().amax()) / 200), key
    assert not torch.equal(sf.create_model("tiny_evening").stem.state_dict()["stages.0.proj.conv.weight"],
                           model.stem.state_dict()["stages.0.proj.conv.weight"])  # fmt: skip
    other = sf.create_model("tiny_evening", pretrained=True, num_classes=3)  # with a new head
    assert other.num_classes == 3
    assert torch.equal(sf.from_pretrained("tiny_evening").head.linear.weight, model.head.linear.weight)


def test_names_without_weights_say_so(own):
    with pytest.raises(ValueError) as refused:
        sf.create_model("spikformer_8_512", pretrained=True, dim=64, depth=1)
    assert str(refused.value) == (
        "spikformer_8_512 comes without weights: give a weight file, pretrained=PATH, or build tiny_evening, "
        "which has weights"
    )
    with pytest.raises(
        FileNotFoundError, match=r"^there is no checkpoint nowhere: .* or a name that comes with weights: tiny_evening$"
    ):
        read_checkpoint("nowhere")


def test_a_file_of_that_name_comes_first(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sf.save_pretrained(own, tmp_path / "tiny_evening")
    assert read_checkpoint("tiny_evening").path.name == "weights.safetensors"


def test_commands_take_the_name(own, tmp_path, capsys):
    def ran(*words):
        with pytest.raises(SystemExit) as ended:
            main([*words])
        assert not ended.value.code
        return capsys.readouterr().out

    for label in range(10):
        for split in ("train", "test"):
            (tmp_path / f"set/{split}/{label}").mkdir(parents=True)
            Image.new("RGB", (16, 16), (25 * label, 0, 0)).save(tmp_path / f"set/{split}/{label}/0.png")
    (row,) = json.loads(ran("predict", "tiny_evening", str(tmp_path / "set/test/1/0.png"), "--json"))
    assert len(row["top"]) == 5
    assert "81.25 % CIFAR-10, 0.0 MB" in " ".join(ran("list", "evening").split())
    rows = {row["name"]: row["weights"] for row in json.loads(ran("list", "--json"))}
    assert rows["tiny_evening"]["top1"] == 81.25 and rows["spikformer_8_512"] is None
    assert json.loads(ran("info", "tiny_evening", "--json"))["config"] == own.config
    out = str(tmp_path / "report")
    assert json.loads(ran("analyze", "tiny_evening", "--data", str(tmp_path / "set"), "--out", out, "--json"))


def test_those_that_come_along():
    assert "cifar10_evening" in shipped.shipped()
    for name in shipped.shipped():
        told, file = shipped.describe_shipped(name), shipped.shipped()[name]
        card = file.with_suffix(".md").read_text()
        assert told["weights"]["bytes"] <= 3_000_000 and told["weights"]["top1"] >= 80
        for row in ("accuracy, measured", "data", "licence", "command", "commit"):
            assert f"| {row} |" in card
        assert f"{told['weights']['top1']:.2f} %" in card and "/tmp" not in card + json.dumps(shipped.settings_of(file))
        model = sf.create_model(name, pretrained=True).double().eval()  # in float32 a count may flip
        assert sum(p.numel() for p in model.parameters()) == told["parameters"]
        x = torch.randn(2, 3, 32, 32).double()
        assert torch.allclose(sf.deploy.unroll(model)(x), model(x), atol=1e-5) and model(x).std() > 0.1
