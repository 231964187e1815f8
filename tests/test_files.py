"""Outputs that are tried before any work, and folders that one process has for itself."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from spikeformers.files import LOCK, check_output, held, made_folder


def test_paths_that_can_be_written_are_left_as_they_were(tmp_path):
    (tmp_path / "there.csv").write_text("mine")
    check_output("--csv", None)
    check_output("--csv", tmp_path / "there.csv")
    check_output("--csv", tmp_path / "new.csv")
    check_output("--out", tmp_path / "new" / "deeper", folder=True)
    check_output("--out", tmp_path / ("n" * 255), folder=True)
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("there.csv", "mine")]


@pytest.mark.parametrize(
    ("path", "folder", "said"),
    [
        (
            "nodir/x.csv",
            False,
            r"nodir/x\.csv cannot be written \(there is no folder .*nodir\): choose another file with",
        ),
        (".", False, r"cannot be written \(Is a directory\)"),
        ("file/x.csv", False, "cannot be written"),
        ("file", True, r"file cannot be written \(Not a directory\): choose another folder with --to"),
        ("file/deeper", True, r"cannot be written \(Not a directory\)"),
        (f"{'x' * 250}.csv", False, r"x\.csv cannot be written \(File name too long\)"),
        (f"new/{'x' * 256}", True, r"x cannot be written \(File name too long\)"),
    ],
)
def test_paths_that_cannot(tmp_path, path, folder, said):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=said) as error:
        check_output("--to", tmp_path / path, folder=folder)
    assert "--to" in str(error.value) and "\n" not in str(error.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_new_folders_are_removed_again_if_nothing_came_of_them(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(RuntimeError), made_folder(tmp_path / "mine" / "new" / "deeper"):
        raise RuntimeError
    with pytest.raises(RuntimeError), made_folder(tmp_path / "mine"):
        raise RuntimeError
    assert [*tmp_path.rglob("*")] == [tmp_path / "mine"]
    with pytest.raises(RuntimeError), made_folder(tmp_path / "kept" / "deeper") as folder:
        (folder / "model.onnx").touch()
        raise RuntimeError
    assert (tmp_path / "kept" / "deeper" / "model.onnx").exists()


def test_a_disk_without_room(tmp_path):
    with pytest.raises(ValueError, match=r"needs 1,000,000,000,000 MB, and its disk has [\d,]+ MB free: make room"):
        check_output("--out", tmp_path / "run", folder=True, room=10**18)


HOLD = """
import sys
from pathlib import Path
from spikeformers.files import held
with held(Path(sys.argv[1]), "taken"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_held_by_one_process_and_given_back_when_that_is_killed(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=r"^taken by another$"), held(tmp_path, "taken by another"):
            pass
    finally:
        other.kill()
        other.wait()
    with held(tmp_path, "taken"):
        assert [entry.name for entry in tmp_path.iterdir()] == [LOCK]


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def test_a_disk_without_locks_is_warned_of(tmp_path, monkeypatch, caplog, name):
    def refuse(*_):
        raise OSError(getattr(errno, name), "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(2):
        with held(tmp_path, "taken"), held(tmp_path, "taken"):  # no marker file stands in for the lock
            pass
    assert caplog.messages == [f"{tmp_path} is on a disk without locks: make sure that no other process uses it"] * 4


def test_what_else_goes_wrong_with_a_lock_is_told(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "a broken disk")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="a broken disk"), held(tmp_path, "taken"):
        pass
