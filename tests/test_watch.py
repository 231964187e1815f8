"""`spikeformers watch`: what it plays, what it shows, and on the page."""

import base64
import http.client
import io
import json
import socket
import struct
import sys
import time
import types

import numpy as np
import pytest
import torch
from browser import in_browser, needs_a_browser, on_a_phone
from PIL import Image
from tiny_recordings import EVENTS, atis_bin
from tiny_runs import write_images

import spikeformers as sf
from spikeformers.analysis import profile
from spikeformers.analysis.firing_rate import FiringRates
from spikeformers.analysis.watcher import Moment, Watcher
from spikeformers.cli import _watch_page, main, watch
from spikeformers.cli._watch_page import Page, picture_of

TINY = dict(dim=16, depth=1, num_heads=2, strides=(2, 2), time_steps=2, image_size=16, num_classes=3)
IMAGES = {"image_size": 16, "mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "crop_pct": 1.0}
CLIPS = {"image_size": 16, "frames_by": "number", "time_steps": 2, "sensor": [8, 10], "channels": 2}
CLASSES = ["left", "right", "top"]


def saved(folder, lively, preprocess, channels, **parts):
    torch.manual_seed(0)
    model = sf.create_model("spikformer", **TINY, in_channels=channels, **parts)
    if "neuron" not in parts:
        lively(model, torch.rand(2, 8, channels, 16, 16))
    return sf.save_pretrained(model, folder / "weights.safetensors", preprocess=preprocess, classes=CLASSES)


@pytest.fixture(scope="module")
def of_images(tmp_path_factory, lively):
    folder = tmp_path_factory.mktemp("watched")
    return saved(folder, lively, IMAGES, 3), write_images(folder / "set", train=0, test=1) / "test"


@pytest.fixture(scope="module")
def of_events(tmp_path_factory, lively):
    folder = tmp_path_factory.mktemp("events")
    (folder / "wave.bin").write_bytes(atis_bin(EVENTS))
    return saved(folder, lively, CLIPS, 2), folder / "wave.bin"


def command(*words):
    with pytest.raises(SystemExit) as left:
        main(["watch", *map(str, words)])
    return left.value.code


def answer(checkpoint, given):
    (((label, confidence), *_),) = sf.deploy.Predictor(checkpoint)([given])
    return f"{label} {confidence:.1%}"


def test_each_image_is_shown_for_the_models_steps(of_images, capsys):
    checkpoint, images = of_images
    assert command(images, "--model", checkpoint, "--fps", 1000, "--no-page") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for line, file in zip(lines, sorted(images.rglob("*.png")), strict=True):
        assert line.startswith(f"{file.name}, step 2: {answer(checkpoint, file)}, ")
        assert " ms per step, firing " in line and " M additions and " in line


def test_a_recording_stands_in_for_a_camera(of_events, capsys):
    checkpoint, recording = of_events
    assert command(recording, "--model", checkpoint, "--loops", 3, "--port", 0) == 0
    said = capsys.readouterr()
    assert said.err.startswith("the page is at http://127.0.0.1:")
    assert len(said.out.splitlines()) == 3
    for line in said.out.splitlines():
        assert line.startswith(f"wave.bin, step 2: {answer(checkpoint, recording)}, ")


def test_a_recording_has_its_own_pace(tmp_path):
    seconds = [(1_000_000 * t, x, y, p) for t, (_, x, y, p) in enumerate(EVENTS)]
    (tmp_path / "slow.bin").write_bytes(atis_bin(seconds))
    for window, fps in (
        ({}, 2.0),  # 10 frames in 5 seconds
        ({"window": [1.0, 0.25]}, 10.0),
        ({"window": [2.0, 4.0]}, 5.0),
        ({"window": [9.0, 9.0]}, 2.0),
        ({"window_events": [len(EVENTS) // 2, 1]}, 2.0 * len(EVENTS) / (len(EVENTS) // 2)),
    ):
        assert watch._rate_of(str(tmp_path / "slow.bin"), 10, window) == pytest.approx(fps)


def test_it_never_sleeps_for_less_than_nothing(monkeypatch):
    """On a busy machine time passes between any two lines."""
    moments, slept = np.cumsum(np.random.default_rng(0).uniform(0, 0.07, 1000)), []
    clock = types.SimpleNamespace(monotonic=iter(moments).__next__, sleep=slept.append)
    monkeypatch.setattr(watch, "time", clock)
    moment = types.SimpleNamespace(additions=0, multiplications=0)
    watcher = types.SimpleNamespace(begin=lambda: None, see=lambda frame, count: moment)
    watch._play(watcher, iter([watch._Sequence("wave", iter(range(100)), 10.0)]), [])
    assert len(slept) == 100 and min(slept) == 0 and max(slept) > 0


class Looped:
    """A camera of `count` frames."""

    def __init__(self, number, count=5):
        self.left, self.there = count, number == 0

    def isOpened(self):
        return self.there

    def read(self):
        self.left -= 1
        return (True, np.full((20, 20, 3), 40 * self.left, np.uint8)) if self.left >= 0 else (False, None)

    def release(self):
        self.there = False


def test_a_camera(of_images, monkeypatch, capsys, tmp_path):
    checkpoint, _ = of_images
    monkeypatch.chdir(tmp_path)
    cv2 = types.SimpleNamespace(VideoCapture=Looped, cvtColor=lambda x, _: x[..., ::-1], COLOR_BGR2RGB=4)
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    how = ("--model", checkpoint, "--fps", 1000, "--no-page")
    assert command("0", *how) == 0
    steps = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert steps == ["camera 0, step 2", "camera 0, step 2", "camera 0, step 1"]  # five frames, two steps
    assert command("1", *how) == 2
    assert "camera 1 cannot be opened: give another camera's number, or a file" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert command("0", *how) == 2
    assert "a camera needs OpenCV: pip install 'spikeformers[camera]'" in capsys.readouterr().err


def test_a_step_shows_what_the_whole_sequence_does(lively):
    model = lively(sf.create_model("spikformer", **TINY), torch.randn(8, 3, 16, 16))
    frames = torch.randn(2, 3, 16, 16)
    watcher = Watcher(model, CLASSES)
    for _ in range(2):
        watcher.begin()
        moments = [watcher.see(frame.numpy(), count=True, top=2) for frame in frames]
    assert [moment.step for moment in moments] == [1, 2]
    with torch.no_grad(), FiringRates(model) as rates:
        shares = model(frames[:, None])[0].softmax(-1)
    assert dict(moments[-1].top) == pytest.approx(
        {CLASSES[int(k)]: float(shares[k]) for k in shares.argsort(descending=True)[:2]}, rel=1e-4
    )
    for block, rate in rates.by_block().items():
        assert sum(moment.firing[block] for moment in moments) / 2 == pytest.approx(rate), block
    whole = profile(model, [frames[:, None]]).total("strict")
    assert sum(moment.multiplications for moment in moments) == whole.mac
    assert sum(moment.additions for moment in moments) == pytest.approx(whole.ac, abs=2 * 3 * 2)  # but for the mean's


MOMENT = Moment(2, np.zeros((2, 4, 4), np.float32), [("a <b>left</b>", 0.75)], {"stem": 0.5}, 3.0, 2.5e6, 900.0)
SEQUENCE = watch._Sequence("wave & co.bin", iter(()), 10.0)


def asked(page, path, host=None):
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or f"localhost:{page.port}")
    connection.endheaders()
    return connection.getresponse()


def test_the_page_follows_and_is_for_this_machine_only():
    with Page(0) as page:
        assert page.server.server_address[0] == "127.0.0.1"
        assert b"<title>A model at work</title>" in asked(page, "/").read()
        assert (asked(page, "/none").status, asked(page, "/", "evil.example").status) == (404, 403)
        assert (asked(page, "/", f"LOCALHOST:{page.port}").status, asked(page, "/", "localhost:x").status) == (200, 403)
        with pytest.raises(OSError, match=rf"port {page.port} is taken: try another --port, --port 0 for a free one"):
            Page(page.port)
        page.show(SEQUENCE, MOMENT, (2.5e6, 900.0))
        steps = asked(page, "/steps")
        told = json.loads(steps.readline().removeprefix(b"data: "))
    assert (
        told["name"] == "wave & co.bin" and told["top"] == [["a <b>left</b>", 0.75]] and told["firing"] == {"stem": 0.5}
    )
    assert b"event: end" in steps.read()


def test_a_browser_that_breaks_off_says_nothing(capsys):
    with Page(0) as page:
        for asks in (b"", b"GET / HT"):
            line = socket.create_connection(("127.0.0.1", page.port))
            line.sendall(asks)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
            line.close()
        assert asked(page, "/").status == 200
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_pictures():
    def pixels(frame):
        held = base64.b64decode(picture_of(np.array(frame, np.float32)).partition(",")[2])
        return np.asarray(Image.open(io.BytesIO(held))).tolist()

    assert pixels([[[0.0, 1.0]]]) == [[0, 255]]
    assert pixels([[[-1.0]], [[0.0]], [[1.0]]]) == [[[0, 128, 255]]]
    assert pixels([[[2, 0, 0]], [[0, 2, 0]]]) == [[[255, 0, 0], [0, 0, 255], [255, 255, 255]]]  # off, on, none
    assert pixels(np.zeros((3, 1, 1))) == [[[0, 0, 0]]]


@needs_a_browser
def test_the_page_in_a_browser(tmp_path):
    told = {
        "name": "a_very_long_name_of_a_recording_without_any_space_in_it.aedat4", "step": 3, "fps": 10.0,
        "picture": picture_of(np.random.default_rng(0).random((3, 8, 8))), "top": [["automobile", 0.9]] * 5,
        "firing": {f"blocks.{i}": 0.2 for i in range(8)}, "milliseconds": 200.0, "additions": 3e7, "multiplications": 5,
    }  # fmt: skip
    page = _watch_page._HTML.read_text().replace("/* style */", _watch_page._STYLE.read_text())
    page = page.replace('new EventSource("/steps")', "{ addEventListener() {} }")
    (tmp_path / "watch.html").write_text(page.replace("</script>", f"show({json.dumps(told)});\n</script>"))
    for seen in (in_browser(tmp_path / "watch.html", tmp_path, 1200), on_a_phone(tmp_path / "watch.html", tmp_path)):
        assert seen["told"] == [] and seen["broken"] == 0 and seen["outside"] == []
        assert seen["scroll"] <= seen["width"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--fps", "0"), "--fps 0.0 is not in 0.01 to 1000: give a number such as 10"),
        (("--loops", "-1"), "--loops -1 is below 0: give 1 or more, or 0 to repeat forever"),
        (("--port", "70000"), "--port 70000 is not a port"),
        (
            ("--port", "0", "--no-page"),
            "--port sets the page's port, but --no-page turns the page off: leave out one of them",
        ),
    ],
)
def test_numbers_that_do_not_fit(of_events, capsys, words, says):
    checkpoint, recording = of_events
    assert command(recording, "--model", checkpoint, *words) == 2
    assert says in capsys.readouterr().err


def test_refusals(of_events, of_images, capsys, tmp_path, monkeypatch, lively):
    checkpoint, recording = of_events
    monkeypatch.chdir(tmp_path)
    for source, model, says in (
        ("none.bin", checkpoint, "there is no none.bin: give a recording, an image, a folder, or a camera's number"),
        ("0", checkpoint, "camera 0 gives images, but the model takes recordings: give a recording"),
        (recording, "model.onnx", "model.onnx is an exported file, which hides its neurons: give the run it came from"),
        (recording, of_images[0], "wave.bin"),
        (recording, saved(tmp_path, lively, CLIPS, 2, neuron="PSN"), "looks ahead in time"),
    ):
        assert command(source, "--model", model, "--no-page") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line
