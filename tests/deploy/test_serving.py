"""The server: answers, limits, batches, and a line of JSON for whatever is wrong."""

import asyncio
import io
import json
import re
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from tiny_recordings import EVENTS, atis_bin

from spikeformers.cli import main
from spikeformers.cli.serve import _listen
from spikeformers.deploy import Limits, Predictor, application, request_bodies
from spikeformers.deploy.formats.files import METADATA
from spikeformers.deploy.serving import Batches

IMAGES = {"image_size": 8, "mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "crop_pct": 1.0}
CLIPS = {"frames_by": "number", "time_steps": 2, "sensor": [8, 10], "image_size": 8, "window": [2e-5, 1e-5]}


def model_file(path, preprocess, shape, batch_axis, classes=("red", "green", "blue")):
    """An .onnx whose logits are the means of an input's channels, or of its steps."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["logits"], axes=[1, 2, 3] if batch_axis else [2, 3], keepdims=0)]
    if batch_axis:
        nodes = [
            helper.make_node("Transpose", ["x"], ["b"], perm=[1, 0, 2, 3, 4]),
            helper.make_node("ReduceMean", ["b"], ["logits"], axes=[2, 3, 4], keepdims=0),
        ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    settings = {"time_steps": 2 if batch_axis else 1, "in_channels": 2 if batch_axis else 3}
    settings |= {"num_classes": len(classes), "classes": list(classes), "preprocess": preprocess}
    helper.set_model_props(model, {METADATA: json.dumps(settings)})
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def of_images(tmp_path_factory):
    return model_file(tmp_path_factory.mktemp("model") / "model.onnx", IMAGES, ["batch", 3, 8, 8], 0)


@pytest.fixture(scope="module")
def of_recordings(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    return model_file(path, CLIPS, [2, "batch", 2, 8, 8], 1, ("early", "late"))


def ask(file, *requests, limits=None, ending=None):
    """Answers to requests (method, path, arguments of httpx), sent together."""

    async def send():
        app = application(Predictor(file, threads=1), limits)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answers = await asyncio.gather(*(client.request(how, path, **more) for how, path, more in requests))
            return [*answers, await client.get(ending)] if ending else answers

    return asyncio.run(send())


def picture(colour=(250, 10, 10), kind="PNG", size=(20, 10)):
    made = io.BytesIO()
    Image.new("RGB", size, colour).save(made, kind)
    return made.getvalue()


def post(body, path="/predict", **more):
    return "POST", path, {"content": body, **more}


def test_images(of_images):
    red, green, two, health = ask(
        of_images,
        post(picture()),
        post(picture((0, 255, 0), "JPEG"), headers={"content-type": "application/x-www-form-urlencoded"}),  # curl's
        post(picture(kind="GIF"), "/predict?top=2"),
        ("GET", "/health", {}),
    )
    assert [label for label, _ in map(dict.values, red.json()["top"])] == ["red", "green", "blue"]
    assert red.json()["top"][0]["confidence"] > 0.9
    assert green.json()["top"][0]["label"] == "green"
    assert len(two.json()["top"]) == 2
    assert health.json() | {"limits": None} == {
        "status": "ok", "model": "model.onnx", "takes": "images", "classes": 3, "limits": None,
    }  # fmt: skip


def noise(kind="PNG"):
    made = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)).save(made, kind)
    return made.getvalue()


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (post(b""), 400, "the body is empty: send a file"),
        (post(b"no image"), 400, "the body cannot be read as an image: send one of PNG, JPEG"),
        (post(noise()[:900]), 400, "the image cannot be read as an image"),
        (post(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), 400, "cannot be read as an image: send one of"),
        (post(picture(size=(400, 300))), 413, "400 x 300 pixels, more than 0.1 million: .* --max-mp"),
        (post(b"P6 60000 10 255\n"), 413, "60000 x 10 pixels, more than"),
        (post(bytes(200_000)), 413, r"the body has more than 0\.1 MB: send a smaller file, or .* --max-mb"),
        (post(bytes(50_000) for _ in range(9)), 413, "the body has more than"),  # no length is stated
        (post(picture(), "/predict?top=0"), 400, r"top '0' is not a whole number of at least 1: give one"),
        (post(picture(), "/predict?top=many"), 400, "top 'many' is not a whole number"),
        (("POST", "/predict", {"files": {"file": picture()}}), 415, "the body is a form: send the file itself"),
        (("GET", "/predict", {}), 405, "/predict takes no GET: POST /predict, GET /health and GET /metrics exist"),
        (("GET", "/docs", {}), 404, "there is no /docs: send files to POST /predict"),
    ],
    ids=range(13),
)  # fmt: skip
def test_refusals_are_a_line(of_images, request_, status, says):
    if not isinstance(request_[2].get("content", b""), bytes):
        parts = request_[2]["content"]

        async def stream():
            for part in parts:
                yield part

        request_ = (*request_[:2], {"content": stream()})
    (answer,) = ask(of_images, request_, limits=Limits(megabytes=0.1, megapixels=0.1))
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    line = answer.json()["error"]
    assert "\n" not in line
    assert "Traceback" not in line
    assert re.search(says, line), line


def test_recordings(of_recordings):
    events = np.array([(t, x, y, p) for t, x, y, p in EVENTS * 40])
    table, packed = io.BytesIO(), io.BytesIO()
    np.save(table, events[np.argsort(events[:, 0], kind="stable")])
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.npy", bytes(20_000_000))
    long = atis_bin([(t * 100, x, y, p) for t, x, y, p in EVENTS])
    good, also, *wrong = ask(
        of_recordings,
        post(atis_bin(EVENTS), "/predict?name=a.bin"),
        post(table.getvalue(), "/predict?name=a.npy"),
        post(atis_bin(EVENTS)),
        post(b"1", "/predict?name=../../etc/passwd"),
        post(b"123", "/predict?name=a.bin"),
        post(b"nonsense", "/predict?name=a.npz"),
        post(packed.getvalue(), "/predict?name=a.npz"),
        post(long, "/predict?name=a.bin"),
        limits=Limits(megabytes=2, windows=64),
    )
    for answer in (good, also):
        assert {entry["label"] for entry in answer.json()["top"]} == {"early", "late"}
    said = [(answer.status_code, answer.json()["error"]) for answer in wrong]
    assert said[0] == (400, said[0][1])
    assert said[0][1].startswith("the recording has no name that ends in one of .bin .aedat")
    assert said[1][1].startswith("the name '../../etc/passwd' does not end in one of")
    assert said[2][1].startswith("the recording cannot be read as a recording (")
    assert said[3][1].startswith("the recording cannot be read as a recording (")
    assert said[4] == (413, "the recording unpacks to 20 MB: send it in parts")
    assert said[5][0] == 413
    assert "windows of time, more than 64: send it in parts" in said[5][1]
    assert not [line for _, line in said if "/tmp" in line]


def test_windows_of_events_are_limited_too(tmp_path):
    how = {**CLIPS, "window": None, "window_events": [2, 1]}
    file = model_file(tmp_path / "model.onnx", how, [2, "batch", 2, 8, 8], 1, ("early", "late"))
    frames = io.BytesIO()
    np.savez(frames, frames=np.zeros((2, 2, 8, 10)))  # already cut: one window
    asked = (post(atis_bin(EVENTS), "/predict?name=a.bin"), post(frames.getvalue(), "/predict?name=a.npz"))
    for limit, status in ((5, 200), (4, 413)):
        recording, prepared = ask(file, *asked, limits=Limits(windows=limit))
        assert (recording.status_code, prepared.status_code) == (status, 200)
    assert recording.json() == {"error": "the recording has 5 windows of events, more than 4: send it in parts"}


def test_what_arrives_together_is_one_batch(of_images):
    *answers, metrics = ask(of_images, *[post(picture((10 * i, 0, 0))) for i in range(20)], ending="/metrics")
    confidence = [answer.json()["top"][0]["confidence"] for answer in answers]
    assert confidence[8:] == sorted(confidence[8:])  # each gets its own answer
    rows = dict(line.rsplit(" ", 1) for line in metrics.text.splitlines() if not line.startswith("#"))
    assert int(rows["spikeformers_samples_total"]) == 20
    assert int(rows["spikeformers_batches_total"]) < 20
    assert int(rows['spikeformers_requests_total{status="200"}']) == 20
    assert int(rows['spikeformers_request_seconds_bucket{le="+Inf"}']) == 20


def test_batches():
    seen = []

    def run(samples):
        seen.append(len(samples))
        time.sleep(0.05)
        if "bad" in samples:
            raise ValueError("bad")
        return samples

    async def ask_all():
        batches = Batches(run, Limits(batch=3, waiting=6))
        first = asyncio.create_task(batches("first"))
        await asyncio.sleep(0.01)
        others = [asyncio.create_task(batches(i)) for i in range(7)]
        await asyncio.sleep(0.01)
        others[5].cancel()  # it no longer waits
        said = await asyncio.gather(first, *others, return_exceptions=True)
        return [*said, *await asyncio.gather(batches("bad"), return_exceptions=True)]

    first, *others, bad = asyncio.run(ask_all())
    assert (first, others[:5]) == ("first", [0, 1, 2, 3, 4])
    assert isinstance(others[5], asyncio.CancelledError)
    assert (others[6].status_code, others[6].detail) == (503, "6 requests wait already: send it again later")
    assert seen[:2] == [1, 3]
    assert isinstance(bad, ValueError)


def test_one_that_fails_does_not_fail_the_others():
    def run(samples):
        time.sleep(0.05)
        if "bad" in samples:
            raise ValueError("bad")
        return samples

    async def ask_all():
        batches = Batches(run, Limits(batch=8))
        tasks = [asyncio.create_task(batches(sample)) for sample in ("first", 1, "bad", 2)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, one, bad, two = asyncio.run(ask_all())
    assert (first, one, two) == ("first", 1, 2) and isinstance(bad, ValueError)


def test_an_image_too_thin_to_be_resized_is_refused(of_images):
    thin = picture(size=(1, 90_000))
    with pytest.raises(ValueError, match="has 2 x 9000000 pixels, too thin for 8 on its shorter side: crop it"):
        Predictor(of_images).read(Image.new("RGB", (2, 9_000_000)))
    request_bodies.read_image_body(Predictor(of_images), bytearray(thin), "", Limits())  # 46 million
    long = bytearray(picture(size=(1, 2_000_000)))
    with pytest.raises(request_bodies.HTTPException, match="1 x 2000000 pixels, too thin"):
        request_bodies.read_image_body(Predictor(of_images), long, "", Limits())


def test_requests_that_were_given_up_wait_no_longer():
    async def ask_all():
        batches = Batches(lambda samples: time.sleep(0.2) or samples, Limits(batch=1, waiting=2))
        first = asyncio.create_task(batches("first"))
        await asyncio.sleep(0.05)
        given_up = [asyncio.create_task(batches(i)) for i in range(2)]
        await asyncio.sleep(0.05)
        assert batches.count() == 2
        for task in given_up:
            task.cancel()
        return await asyncio.gather(first, batches("late")), batches.count()

    assert asyncio.run(ask_all()) == (["first", "late"], 0)


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ({"batch": 0}, "batch 0 is not a whole number of at least 1: give one"),
        ({"batch": 2.5}, "batch 2.5 is not a whole number of at least 1: give one"),
        ({"waiting": 0}, "waiting 0 is not a whole number"),
        ({"windows": -1}, "windows -1 is not a whole number"),
        ({"megabytes": float("inf")}, "megabytes inf is not above 0 and finite: give a number that is"),
        ({"megapixels": float("nan")}, "megapixels nan is not above 0"),
        ({"seconds": 0}, "seconds 0 is not above 0"),
        ({"megapixels": 400}, "megapixels 400 is above 178, all that Pillow reads: give less"),
    ],
)
def test_limits_that_would_serve_nobody(limit, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        Limits(**limit)


def test_windows_go_through_the_model_a_few_at_a_time(of_recordings):
    """Answers are as those of all at once, and each is its own recording's."""
    predictor, sizes = Predictor(of_recordings), []
    run = predictor.run
    draw = np.random.default_rng(0)
    samples = [[*draw.random((count, 2, 2, 8, 8), np.float32)] for count in (1, 40, 3)]
    whole = predictor.classify(samples, together=1000)

    class Counted:
        path = run.path

        def __call__(self, batch):
            sizes.append(batch.shape[1])
            return run(batch)

    predictor.run = Counted()
    for expected, said in zip(whole, predictor.classify(samples), strict=True):
        assert dict(said) == pytest.approx(dict(expected), abs=1e-6)
    assert sizes == [32, 12]


def test_a_request_that_takes_too_long(of_images, monkeypatch):
    async def slow():
        yield picture()[:50]
        await asyncio.sleep(0.3)
        yield picture()[50:]

    (answer,) = ask(of_images, ("POST", "/predict", {"content": slow()}), limits=Limits(seconds=0.1))
    assert answer.status_code == 408
    assert answer.json()["error"].startswith("the body did not arrive within 0.1 s: send it faster, or")
    classify = Predictor.classify

    def slowly(self, samples, **how):
        time.sleep(0.3)
        return classify(self, samples, **how)

    monkeypatch.setattr(Predictor, "classify", slowly)
    (answer,) = ask(of_images, post(picture()), limits=Limits(seconds=0.1))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"].startswith("no answer within 0.1 s: send it again later, or start")


def test_the_memory_of_waiting_bodies_is_bounded(of_images, monkeypatch):
    monkeypatch.setattr(request_bodies, "_BODIES", 3)
    answers = ask(of_images, *[post(noise()[:1500]) for _ in range(8)], limits=Limits(megabytes=0.002))
    assert {answer.status_code for answer in answers} == {400, 503}
    assert "MB of other requests: send it again later" in max(answer.json()["error"] for answer in answers)
    (later,) = ask(of_images, post(picture()), limits=Limits(megabytes=0.002))
    assert later.status_code == 200


def test_the_models_fault_is_no_traceback(of_images, monkeypatch):
    monkeypatch.setattr(Predictor, "classify", lambda self, samples, **how: 1 / 0)
    (answer,) = ask(of_images, post(picture()))
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server failed at this request, and its log says why: send another file"}


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_without_torch_and_ends_cleanly(of_images, ending):
    script = (
        "import sys; from spikeformers.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print({'torch', 'torchvision'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", script, "serve", str(of_images), "--port", "0", "--threads", "1"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        place = line.removeprefix(f"{of_images} answers at ").partition("; ")[0]
        assert place.startswith("http://127.0.0.1:")
        assert httpx.post(place, content=picture(), timeout=20).json()["top"][0]["label"] == "red"
        server.send_signal(ending)
        out, err = server.communicate(timeout=20)
    finally:
        server.kill()
    assert (server.returncode, out.strip(), err) == (0, "set()", "")


def test_answers_do_not_wait_for_more_to_send():
    with _listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--port", "99999"], "--port 99999 is not a port: give one from 0 to 65535"),
        (["--max-mb", "0"], "--max-mb 0 is not above 0: give a number that is"),
        (["--host", "192.0.2.1", "--port", "0"], "192.0.2.1:0 cannot be opened"),
    ],
)
def test_wrong_options(of_images, options, says, capsys):
    with pytest.raises(SystemExit) as left:
        main(["serve", str(of_images), *options])
    assert left.value.code == 2
    assert says in capsys.readouterr().err


def test_without_the_extra(of_images, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit) as left:
        main(["serve", str(of_images)])
    assert left.value.code == 2
    assert "a server needs uvicorn: pip install 'spikeformers[serve]'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "spikeformers.deploy.serving")
    with pytest.raises(ImportError, match=r"a server needs fastapi: pip install 'spikeformers\[serve\]'"):
        __import__("spikeformers.deploy.serving")


def test_the_tutorials_script_answers_as_predict_does(tmp_path):
    """With shapes and a crop that a careless script would get wrong."""
    how = {**IMAGES, "interpolation": "bicubic", "crop_pct": 0.7}
    file = model_file(tmp_path / "model.onnx", how, ["batch", 3, 8, 8], 0)
    draw = np.random.default_rng(0)
    images = [tmp_path / f"{side}.png" for side in (8, 9, 30, 71)]
    for image in images:
        pixels = draw.integers(0, 256, (33, int(image.stem), 3), np.uint8)
        Image.fromarray(pixels).save(image)
    script = Path(__file__).parents[2] / "docs" / "tutorials" / "classify.py"
    assert len(script.read_text().splitlines()) <= 22
    run = subprocess.run([sys.executable, script, file, *images], capture_output=True, text=True, check=True)
    said = [line.rpartition(" ")[2] for line in run.stdout.splitlines()]
    assert said == [top[0][0] for top in Predictor(file)(images, top=1)]
    assert len({*said}) > 1
