"""Event sets by name and by folder: classes, splits and their order."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeformers.data import input_reader, load_sets
from spikeformers.data.events import Window, known_event_sets, load_events
from spikeformers.data.events.gesture import CLASSES
from spikeformers.data.known import _CIFAR10DVS, SETS
from spikeformers.data.settings import Data
from spikeformers.data.split import split_in_order

SETTINGS = {"frames_by": "number"}


def paths(split):
    return ["/".join(split[i][0].path.split("/")[-2:]) for i in range(len(split))]


def test_known_names():
    assert known_event_sets() == ("cifar10dvs", "dvs128_gesture", "n_caltech101", "nmnist")


# ---- DVS128 Gesture


@pytest.fixture
def gesture(tmp_path, write_recording):
    """Two recordings to train on and one to test on, each of 12 gestures of which the eighth comes twice."""
    labels = [1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11]
    for name in ("user01_led", "user02_lab", "user24_led"):
        rows = [(1000 * i + 100 * k, k, i, k % 2) for i in range(12) for k in range(8)]
        write_recording(tmp_path / "DvsGesture" / f"{name}.aedat", rows)
        table = [f"{label},{1000 * i + 100},{1000 * i + 600}" for i, label in enumerate(labels)]
        (tmp_path / "DvsGesture" / f"{name}_labels.csv").write_text(
            "\n".join(["class,startTime_usec,endTime_usec", *table])
        )
    (tmp_path / "DvsGesture" / "trials_to_train.txt").write_text("user01_led.aedat\nuser02_lab.aedat\n")
    (tmp_path / "DvsGesture" / "trials_to_test.txt").write_text("user24_led.aedat\n")
    return tmp_path


def test_gestures_are_cut_by_their_label_files(gesture):
    sets = load_events("dvs128_gesture", root=gesture, validation=0, download=False)
    assert (len(sets.train), len(sets.test)) == (24, 12)  # of 98 and 24 such files: 1,176 and 288
    assert sets.classes == CLASSES and len(CLASSES) == 11 and sets.sensor == (128, 128)
    assert [sets.test[i][1] for i in range(12)] == [0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10]
    events = sets.test[2][0].events()
    assert events.t.tolist() == [2100, 2200, 2300, 2400, 2500]  # 100 <= t - 2000 < 600
    assert set(events.y.tolist()) == {2}


def test_a_gesture_file_that_is_missing_is_named(gesture):
    (gesture / "DvsGesture" / "user02_lab_labels.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"user02_lab_labels\.csv is missing"):
        load_events("dvs128_gesture", root=gesture, download=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [("what\n1\n", "is not a table of class"), ("class,startTime_usec,endTime_usec\n12,0,9\n", "outside 1 to 11")],
)
def test_a_label_file_that_says_nothing_clear(gesture, text, said):
    (gesture / "DvsGesture" / "user01_led_labels.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"user01_led_labels\.csv .*{said}"):
        load_events("dvs128_gesture", root=gesture, download=False)


# ---- CIFAR10-DVS, N-Caltech101


def test_the_first_nine_tenths_of_each_class_by_file_name(tmp_path, write_recording, events):
    names = sorted(_CIFAR10DVS)
    for name in names:
        for i in range(20):
            write_recording(tmp_path / name / f"cifar10_{name}_{i}.aedat", events)
    (tmp_path / "something else").mkdir()
    sets = load_events("cifar10dvs", root=tmp_path, validation=0, download=False)
    assert sets.classes == tuple(names) and sets.sensor == (128, 128)
    assert (len(sets.train), len(sets.test)) == (180, 20)
    # 0 1 10 11 ... 19 2 ... 9 in the order of names
    assert paths(sets.train)[:4] == [f"airplane/cifar10_airplane_{i}.aedat" for i in (0, 1, 10, 11)]
    assert paths(sets.test)[:2] == ["airplane/cifar10_airplane_8.aedat", "airplane/cifar10_airplane_9.aedat"]
    assert set(paths(sets.train)) & set(paths(sets.test)) == set()


def test_cifar10dvs_lies_on_its_side_as_in_the_papers(tmp_path, encode, caplog):
    events = [(10 * k, 3 * k, k, k % 2) for k in range(20)]  # as the camera saw them
    for name in _CIFAR10DVS:
        (tmp_path / "cifar10dvs" / name).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "cifar10dvs" / name / f"{i}.aedat").write_bytes(encode["aedat2"](events))
    sets = load_events("cifar10dvs", root=tmp_path, validation=0, test=0.5, download=False)
    assert "x and y are swapped in recordings of cifar10dvs" in caplog.text
    recording = sets.test[0][0]
    assert [tuple(row) for row in np.stack(recording.events(), 1).tolist()] == [(t, y, x, p) for t, x, y, p in events]
    preprocess = sets.preprocess(SETTINGS, image_size=128, time_steps=1)
    assert preprocess["transposed"] is True
    (clip, _), again = sets.prepared(sets.test, preprocess, {})[0], input_reader(preprocess, 2)
    assert np.array_equal(again(recording.path)[0], clip)
    sets.keep(recording, tmp_path / "sample")  # and a sample of the set is read alike
    assert np.array_equal(again(tmp_path / "sample.npz")[0], clip)

    caplog.clear()
    own = load_events(str(tmp_path / "cifar10dvs"), validation=0, test=0.5)  # in a folder of one's own they are upright
    assert [tuple(row) for row in np.stack(own.test[0][0].events(), 1).tolist()] == events
    upright = own.preprocess(SETTINGS, image_size=128, time_steps=1)
    assert "transposed" not in upright and "swapped" not in caplog.text

    # A set is read as the model was trained, whatever its own way.
    assert np.array_equal(own.prepared(own.test, preprocess, {})[0][0], clip)
    assert f"x and y of {own.name} are swapped, as in the model's training" in caplog.text
    assert np.array_equal(sets.prepared(sets.test, upright, {})[0][0], input_reader(upright, 2)(recording.path)[0])
    assert "x and y of cifar10dvs are not swapped, as in the model's training" in caplog.text


def test_split_in_order():
    labels = [0] * 1000 + [1] * 467 + [2] * 3
    rest, part = split_in_order(labels, 0.1)
    assert rest == [
        *range(900),
        *range(1000, 1421),
        *range(1467, 1470),
    ]  # 467 * 0.9 = 420.3, and the rest keeps it whole
    assert sorted(rest + part) == list(range(1470))


def test_a_seeded_random_split_on_request(make_folder):
    folder = make_folder(parts={".": 10})
    load = lambda **how: paths(load_events(str(folder), validation=0, sensor=(8, 10), **how).test)  # noqa: E731
    assert load() == ["left/009.bin", "right/009.bin"]
    assert load(test=0.2) == ["left/008.bin", "left/009.bin", "right/008.bin", "right/009.bin"]
    draws = [load(test=0.2, split_seed=seed) for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1] and len({tuple(draw) for draw in draws}) == 3
    assert all([path.split("/")[0] for path in draw] == ["left", "left", "right", "right"] for draw in draws)


def test_n_caltech101(tmp_path, write_recording, events, caplog):
    for name in ("airplanes", "ant"):
        for i in range(4):
            write_recording(tmp_path / "Caltech101" / name / f"image_{i}.bin", events)
    sets = load_events("n_caltech101", root=tmp_path, validation=0, test=0.25, download=False)
    assert sets.classes == ("airplanes", "ant") and sets.sensor == (180, 240)
    assert f"n_caltech101 in {tmp_path / 'Caltech101'} has 8 of its 8709 recordings: unpack its" in caplog.text
    assert paths(sets.test) == ["airplanes/image_3.bin", "ant/image_3.bin"]


# ---- N-MNIST, and fetching


def test_nmnist_has_its_own_split(make_folder):
    folder = make_folder(parts={"Train": 5, "Test": 2}, classes=("0", "1"))
    sets = load_events("nmnist", root=folder, validation=0.2, seed=0, download=False)
    assert (len(sets.train), len(sets.validation), len(sets.test)) == (8, 2, 4)
    assert set(paths(sets.train)) | set(paths(sets.validation)) == {f"{k}/00{i}.bin" for k in (0, 1) for i in range(5)}
    assert sets.sensor == (34, 34) and sets.channels == 2


def interrupted(archive, folder):
    with zipfile.ZipFile(archive) as opened:
        if archive.endswith("Test.zip"):
            opened.extractall(folder, opened.namelist()[:2])
            raise KeyboardInterrupt
        opened.extractall(folder)


def test_archives_are_fetched_where_there_is_a_network(make_folder, tmp_path, monkeypatch):
    made = make_folder(parts={"Train": 5, "Test": 2}, classes=("0", "1"))
    fetched = []

    def fetch(address, folder, filename, md5):
        fetched.append((filename, address, md5))
        Path(folder).mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(Path(folder) / filename, "w") as archive:
            for file in (made / filename.removesuffix(".zip")).rglob("*.bin"):
                archive.write(file, file.relative_to(made))

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fetch)
    with monkeypatch.context() as stopped:  # in the midst of the second archive, as Ctrl-C would
        stopped.setattr("torchvision.datasets.utils.extract_archive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_events("nmnist", root=tmp_path / "data", validation=0)
    marker = tmp_path / "data" / "nmnist" / ".unfinished"
    with pytest.raises(FileNotFoundError, match=rf"unpacking was interrupted, so delete {marker} once all is there"):
        load_events("nmnist", root=tmp_path / "data", validation=0, download=False)
    fetched.clear()
    sets = load_events("nmnist", root=tmp_path / "data", validation=0)
    assert fetched == SETS["nmnist"].archives
    assert len(sets.train) == 10 and "data/nmnist/Train" in sets.train[0][0].path


@pytest.mark.parametrize("name", ["cifar10dvs", "dvs128_gesture", "n_caltech101", "nmnist"])
def test_without_network_it_is_said_what_to_put_where(name, tmp_path, monkeypatch):
    def fetch(*_, **__):
        raise OSError("no network\nhere")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fetch)
    file, address, _ = SETS[name].archives[0]
    for how in ({}, {"download": False}):
        with pytest.raises(FileNotFoundError) as told:
            load_events(name, root=tmp_path, **how)
        said = str(told.value)
        assert (
            said.startswith(f"{name} is not in '{tmp_path}'") and f"{file} from {address}" in said and "\n" not in said
        )


# ---- folders


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ({"train": 10, "test": 2}, (18, 2, 4)),
        ({"Train": 10, "val": 3}, (18, 2, 6)),  # val alone is what is tested on
        ({"train": 10, "val": 3, "test": 2}, (20, 6, 4)),
        ({".": 10}, (16, 2, 2)),
    ],
)
def test_layouts(make_folder, parts, sizes):
    sets = load_events(str(make_folder(parts=parts)), validation=0.1)
    assert (len(sets.train), len(sets.validation), len(sets.test)) == sizes
    assert sets.classes == ("left", "right")
    assert sets.sensor == (8, 10)  # what holds all of their events


def test_formats_may_be_mixed_and_other_files_are_counted(make_folder, caplog):
    for i, ending in enumerate((".bin", ".npz", ".npy", ".aedat")):
        folder = make_folder(parts={"train": 2, "test": 1}, ending=ending, first=10 * i)
    (folder / "train" / "left" / "notes.txt").write_text("none")
    (folder / "train" / "left" / "._000.bin").write_bytes(b"none")
    (folder / "train" / "right" / "a.foo").write_bytes(b"none")
    (folder / "train" / "right" / "b.foo").write_bytes(b"none")
    sets = load_events(str(folder), validation=0)
    assert len(sets.train) == 16
    assert f"{folder / 'train'}: skipped 3 file(s) that are not recordings, 2 .foo, 1 .txt; the first is" in caplog.text
    assert str(folder / "train" / "left" / "notes.txt") in caplog.text
    loaded = sets.prepared(sets.train, sets.preprocess(SETTINGS, image_size=8, time_steps=2), {})
    assert loaded[0][0].shape == (2, 2, 8, 8)


def kind_of(folder):
    return load_sets({**vars(Data()), "name": str(folder), "validation": 0, "workers": 0}, seed=0).kind


def test_a_folder_is_one_of_recordings_or_of_images(make_folder, tmp_path):
    from PIL import Image

    assert kind_of(make_folder()) == "recordings"
    for part in ("train", "test"):
        (tmp_path / "images" / part / "a").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / part / "a" / "0.png")
        for name in ("0.mat", "0.dat"):  # what somebody noted of an image
            (tmp_path / "images" / part / "a" / name).write_bytes(b"none")
    assert kind_of(tmp_path / "images") == "images"
    Image.new("RGB", (8, 8)).save(make_folder() / "train" / "left" / "000.png")  # a picture of a recording
    assert kind_of(make_folder()) == "recordings"


@pytest.mark.parametrize("ending", [".dat", ".es", ".csv", ".mat", ".npy"])
def test_a_folder_is_one_of_recordings_by_any_format(make_folder, ending):
    assert kind_of(make_folder(ending=ending)) == "recordings"


def test_all_class_folders_are_looked_at(make_folder, write_recording, events):
    folder = make_folder(classes=("left", "right"))
    for part in ("train", "test"):
        (folder / part / "_notes").mkdir()
    with pytest.raises(FileNotFoundError, match="_notes holds no recording"):  # and not: no readable image
        kind_of(folder)
    for part in ("train", "test"):
        write_recording(folder / part / "_notes" / "user1" / "0.bin", events)
    assert kind_of(folder) == "recordings"
    assert len(load_events(str(folder), validation=0, sensor=(8, 10)).train) == 13  # those in folders within, too


def test_a_folder_of_neither_is_told_what_it_holds(tmp_path):
    for part in ("train", "test"):
        (tmp_path / "own" / part / "a").mkdir(parents=True)
        for name in ("0.foo", "1.foo", "notes.txt"):
            (tmp_path / "own" / part / "a" / name).write_text("none")
    with pytest.raises(
        FileNotFoundError, match=r"own holds neither images \(\.jpg .*\) nor recordings .*2 \.foo, 1 \.txt"
    ):
        kind_of(tmp_path / "own")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"train": 2, "testing": 1}, "own holds train, testing: call its splits train, val and test"),
        ({"training": 2, "testing": 1}, "own holds testing, training: call its splits"),
        ({"training": 2, "test": 1}, "own holds test, training: call its splits"),
    ],
)
def test_splits_of_other_names_are_refused(make_folder, parts, said):
    with pytest.raises(ValueError, match=said):
        load_events(str(make_folder(parts=parts)))


def test_a_folder_beside_the_splits_is_told(make_folder, caplog):
    folder = make_folder(parts={"train": 4, "val": 1, "testing": 1})
    assert len(load_events(str(folder), sensor=(8, 10), validation=0).test) == 2
    assert caplog.messages == [
        f"{folder} holds 1 folder(s) that are not read, the first is testing: its splits are named train, val and test"
    ]


def test_a_folder_that_cannot_be_opened_is_no_empty_one(make_folder, monkeypatch):
    folder = make_folder()
    person = folder / "train" / "left" / "person"
    person.mkdir()
    scandir = os.scandir

    def refuse(place):
        if Path(place) == person:
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="left/person"):
        load_events(str(folder))


@pytest.mark.parametrize("labels", ["classes", "boxes"])
def test_a_place_for_frames_may_begin_with_the_home(labels, make_folder, driven, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    folder = make_folder() if labels == "classes" else driven
    settings = {**vars(Data()), "name": str(folder), "frames_by": "time", "cache": "~/frames", "workers": 0}
    sets = load_sets(settings, seed=0)
    sets.prepared(sets.test, sets.preprocess(settings, image_size=(32, 48), time_steps=2), settings)
    assert (tmp_path / "home" / "frames").is_dir() and not (tmp_path / "~").exists()


def test_a_class_without_recordings_is_told_what_it_holds(make_folder):
    folder = make_folder(parts={"train": 2, "test": 1})
    for file in (folder / "train" / "right").iterdir():
        file.rename(file.with_suffix(".foo"))
    with pytest.raises(FileNotFoundError, match=r"right holds no recording \(.*\), but 2 \.foo: add some"):
        load_events(str(folder))


def test_the_sensor_is_looked_for_and_told(make_folder, caplog, tmp_path):
    folder = make_folder()
    (folder / "train" / "left" / "000.bin").write_bytes(b"broken")
    for workers in (0, 1):
        assert load_events(str(folder), workers=workers).sensor == (8, 10)
        assert f"all recordings of {folder} fit 8 x 10 pixels: set data.sensor to [8, 10]" in caplog.text
        caplog.clear()
    assert load_events(str(folder), sensor=(9, 12)).sensor == (9, 12) and not caplog.text


def test_names_of_both_kinds_are_suggested():
    for wrong, right in (("nmnits", "nmnist"), ("cifar10-dvs", "cifar10dvs"), ("digit", "digits")):
        with pytest.raises(FileNotFoundError, match=f"nor a known set; did you mean .*{right}"):
            load_sets({**vars(Data()), "name": wrong}, seed=0)


def test_wrong_layouts(make_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="is neither a folder nor a known set: known sets are cifar10dvs"):
        load_events(str(tmp_path / "nowhere"))
    folder = make_folder()
    (folder / "train" / "top").mkdir()
    with pytest.raises(FileNotFoundError, match=r"top holds no recording \(\.bin \.aedat"):
        load_events(str(folder))
    (folder / "train" / "top" / "0.bin").write_bytes(b"12345")
    with pytest.raises(ValueError, match="other classes than the training split: only one of them has top"):
        load_events(str(folder))
    with pytest.raises(ValueError, match="validation 1 is not in 0 <= validation < 1"):
        load_events(str(folder), validation=1)


# ---- SpikingJelly's frames


@pytest.fixture
def prepared(tmp_path):
    folder = tmp_path / "frames_number_3_split_by_number"
    for part, count in (("train", 4), ("test", 2)):
        for label in (0, 1):
            (folder / part / str(label)).mkdir(parents=True)
            for i in range(count):
                frames = np.zeros((3, 2, 6, 6))
                frames[:, label, i] = i + 300
                np.savez_compressed(folder / part / str(label) / f"{i}.npz", frames=frames)
    return folder


def test_spikingjellys_frames_are_read_as_they_are(prepared, tmp_path):
    sets = load_events(str(prepared), validation=0.25)
    assert sets.sensor == (6, 6) and (len(sets.train), len(sets.validation), len(sets.test)) == (6, 2, 4)
    preprocess = sets.preprocess(SETTINGS, image_size=6, time_steps=3)
    clips = sets.prepared(sets.test, preprocess, {"cache": str(tmp_path / "cache")})
    x, label = clips[3]
    assert label == 1 and x.shape == (3, 2, 6, 6) and x[:, 1, 1].unique().tolist() == [301.0] and x.sum() == 3 * 6 * 301
    assert not (tmp_path / "cache").exists()
    assert sets.picture(sets.test[3][0]).size == (6, 6)


def test_of_spikingjellys_frames_a_broken_file_is_named_or_left_out(prepared, tmp_path):
    file = prepared / "test" / "1" / "0.npz"
    file.write_bytes(file.read_bytes()[:100])
    sets = load_events(str(prepared), validation=0)
    preprocess = sets.preprocess(SETTINGS, image_size=6, time_steps=3)
    with pytest.raises(ValueError, match=r"test/1/0\.npz cannot be read as frames .*1 of 4 recordings are broken"):
        sets.prepared(sets.test, preprocess, {})
    clips = sets.prepared(sets.test, preprocess, {"cache": str(tmp_path / "cache"), "skip_broken": True})
    assert [clips[i][1] for i in range(len(clips))] == [0, 0, 1]


@pytest.mark.parametrize("changes", [{"time_steps": 4}, {"frames_by": "time"}])
def test_frames_of_another_number_are_refused(prepared, changes):
    sets = load_events(str(prepared), validation=0)
    preprocess = {**sets.preprocess(SETTINGS, image_size=6, time_steps=3), **changes}
    with pytest.raises(
        ValueError, match=r"holds frames 3x6x6-by-number, .*set model\.time_steps 3 and data\.frames_by number"
    ):
        sets.prepared(sets.test, preprocess, {})


def test_frames_that_are_not_what_the_name_says(prepared):
    np.savez(prepared / "train" / "0" / "0.npz", frames=np.zeros((5, 2, 6, 6)))
    with pytest.raises(ValueError, match=r"holds frames \[5, 2, 6, 6\], but .* means \[3, 2, H, W\]"):
        load_events(str(prepared))


@pytest.mark.parametrize("shape", [(4, 2, 6, 6), (3, 2, 6, 7), (3, 6, 6), (3, 3, 6, 6)])
def test_every_file_of_frames_is_looked_at(prepared, shape):
    np.savez_compressed(prepared / "train" / "1" / "2.npz", frames=np.zeros(shape, np.uint8))
    sets = load_events(str(prepared), validation=0)
    preprocess = sets.preprocess(SETTINGS, image_size=6, time_steps=3)
    said = rf"train/1/2\.npz holds frames \[{', '.join(map(str, shape))}\] of uint8, but others have \[3, 2, 6, 6\]"
    with pytest.raises(ValueError, match=f"{said}; 1 of 8 recordings are broken"):
        sets.prepared(sets.train, preprocess, {})
    assert len(sets.prepared(sets.train, preprocess, {"skip_broken": True})) == 7


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_frames_that_are_not_finite_are_named(prepared, wrong):
    frames = np.ones((3, 2, 6, 6), np.float32)
    frames[1, 0, 2, 3:5] = wrong
    np.savez_compressed(prepared / "train" / "1" / "2.npz", frames=frames)
    sets = load_events(str(prepared), validation=0)
    preprocess = sets.preprocess(SETTINGS, image_size=6, time_steps=3)
    clips = sets.prepared(sets.train, preprocess, {})
    with pytest.raises(ValueError, match=r"train/1/2\.npz holds 2 values that are not finite: create it again"):
        clips[6]
    assert len(sets.prepared(sets.train, preprocess, {"skip_broken": True})) == 7


def test_frames_of_one_duration_are_refused(prepared):
    folder = prepared.rename(prepared.with_name("duration_50000"))
    with pytest.raises(
        ValueError, match=r"duration_50000 holds frames of fixed duration, .*frames_number_<T>_split_by_"
    ):
        kind_of(folder)


def test_frames_are_not_cut_into_windows(prepared):
    with pytest.raises(ValueError, match="holds frames, which a window cannot cut: leave it out"):
        load_events(str(prepared), validation=0, window=Window(10, 10))


# ---- pictures, samples, settings


def test_a_picture_is_red_where_it_grew_brighter(make_folder):
    sets = load_events(str(make_folder()), validation=0)
    item = sets.train[0][0]
    events, pixels = item.events(), np.asarray(sets.picture(item))
    assert pixels.shape == (8, 10, 3)
    assert (pixels[events.y[0], events.x[0]] == (0, 0, 255)).all()  # the first event is of darkness
    assert (pixels[events.y[-1], events.x[-1]] == (255, 0, 0)).all()
    assert (pixels[0, 0] == 255).all()


def test_a_sample_keeps_the_events(make_folder, tmp_path):
    sets = load_events(str(make_folder()), validation=0)
    sets.keep(sets.train[0][0], tmp_path / "sample")
    kept, was = type(sets.train[0][0])(str(tmp_path / "sample.npz")).events(), sets.train[0][0].events()
    assert all(np.array_equal(a, b) for a, b in zip(kept, was, strict=True))


def test_the_third_channel_is_the_sum(make_folder):
    sets = load_events(str(make_folder()), validation=0, channels=3)
    x, _ = sets.prepared(sets.train, sets.preprocess(SETTINGS, image_size=16, time_steps=2), {})[0]
    assert x.shape == (2, 3, 16, 16) and torch.equal(x[:, 2], x[:, 0] + x[:, 1])


def test_mean_and_std_are_of_images(make_folder):
    sets = load_events(str(make_folder()), validation=0)
    with pytest.raises(ValueError, match=r"data\.mean applies to images"):
        sets.preprocess({**SETTINGS, "mean": [0.5, 0.5]}, image_size=16, time_steps=2)
