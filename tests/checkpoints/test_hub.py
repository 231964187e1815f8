"""Models to the Hugging Face Hub and back, with a folder in its place: no test goes there."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

import spikeformers as sf
import spikeformers.deploy
from spikeformers.checkpoints.read import read_checkpoint

TINY = dict(dim=16, depth=1, num_heads=2, image_size=8, time_steps=2)
X = torch.randn(2, 3, 8, 8)
REPO = "owner/a-model"


def tiny(**overrides):
    return sf.create_model("spikformer_4_384_cifar10", **{**TINY, **overrides})


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub in a folder, one repository a subfolder, and what was asked of it."""
    hub = SimpleNamespace(folder=tmp_path / "hub", asked=[])

    class Api:
        def create_repo(self, repo, *, private, exist_ok):
            assert exist_ok
            hub.asked.append(("create", repo, private))
            return f"https://hub.example/{repo}"

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            hub.asked.append(("upload", repo_id, commit_message))
            shutil.copytree(folder_path, hub.folder / repo_id, dirs_exist_ok=True)

    def hf_hub_download(repo, file, *, revision):
        hub.asked.append(("download", repo, revision))
        if not (hub.folder / repo).is_dir():
            raise hub_error(errors.RepositoryNotFoundError)
        if revision not in (None, "v1"):
            raise hub_error(errors.RevisionNotFoundError)
        if not (hub.folder / repo / file).is_file():
            raise errors.EntryNotFoundError("404 Client Error\nEntry Not Found")
        return str(hub.folder / repo / file)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    return hub


def hub_error(kind):
    """An error as huggingface_hub raises it, without a response, which is of another library in each version."""
    error = kind.__new__(kind)
    error.args = ("404 Client Error.\n\nNot Found for url",)
    return error


def test_there_and_back(hub, lively):
    model = lively(tiny(num_classes=7), X)
    assert sf.push_to_hub(model, REPO, private=True, classes=[*"abcdefg"]) == f"https://hub.example/{REPO}"
    assert {file.name for file in (hub.folder / REPO).iterdir()} == {"README.md", "config.json", "weights.safetensors"}
    again = sf.from_pretrained(REPO, revision="v1")
    assert not again.training
    assert torch.equal(again(X), model(X))
    assert sf.from_pretrained(REPO, num_classes=3)(X).shape == (2, 3)
    assert hub.asked == [
        ("create", REPO, True), ("upload", REPO, "Upload spikformer_4_384_cifar10"),
        ("download", REPO, "v1"), ("download", REPO, None),
    ]  # fmt: skip
    assert f'sf.from_pretrained("{REPO}")' in (hub.folder / REPO / "README.md").read_text()


def test_a_folder_goes_with_its_settings_and_without_its_other_files(hub, tmp_path):
    model = tiny()
    sf.save_pretrained(model, tmp_path / "run", classes=[*"abcdefghij"], test={"top1": 61.5, "images": 12})
    (tmp_path / "run" / "metrics.csv").write_text("epoch")
    sf.push_to_hub(tmp_path / "run", REPO, license="mit", message="First")
    assert {file.name for file in (hub.folder / REPO).iterdir()} == {"README.md", "config.json", "weights.safetensors"}
    settings = read_checkpoint(hub.folder / REPO).settings
    assert (settings["classes"], settings["license"]) == ([*"abcdefghij"], "mit")
    assert settings == json.loads((hub.folder / REPO / "config.json").read_text())
    card = (hub.folder / REPO / "README.md").read_text()
    assert "61.50 % of 12 test images" in card
    assert "\nlicense: mit\n" in card
    assert hub.asked[-1] == ("upload", REPO, "First")


def test_private_places_do_not_go(hub):
    recipe = {"out": "/home/me/runs", "start_from": "/home/me/first", "data": {"name": "/home/me/cats", "root": "/d"}}
    recipe |= {"distill": {"teacher": "/home/me/large"}}
    sf.push_to_hub(tiny(), REPO, recipe=recipe)
    settings = read_checkpoint(hub.folder / REPO).settings
    wanted = {"start_from": "first", "data": {"name": "cats"}, "distill": {"teacher": "large"}}
    assert settings["recipe"] == wanted
    assert "/home" not in "".join(file.read_text("utf-8", "replace") for file in (hub.folder / REPO).iterdir())


def test_settings_that_could_not_be_read_again_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"^setting classes must be a list of names, not \[0, 1.*: it could not be read"
    ):
        sf.save_pretrained(tiny(), tmp_path / "mine", classes=list(range(10)))
    assert not (tmp_path / "mine").exists()


def test_a_wrapped_model_goes_by_what_is_inside(hub, lively):
    model = lively(tiny(), X)
    sf.push_to_hub(torch.nn.DataParallel(model), REPO)
    sf.push_to_hub(torch.compile(model), REPO)
    assert torch.equal(sf.from_pretrained(REPO)(X), model(X))
    sf.push_to_hub(folded := sf.deploy.fold(model), REPO)
    assert torch.equal(sf.from_pretrained(REPO)(X), folded(X))


def test_a_path_that_exists_wins(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sf.push_to_hub(tiny(), REPO)
    sf.save_pretrained(tiny(dim=32), REPO)
    assert sf.from_pretrained(REPO).config["dim"] == 32
    with pytest.raises(ValueError, match=f"{REPO} has no revision 'v1': only a Hub repository has one"):
        sf.from_pretrained(REPO, revision="v1")


@pytest.mark.parametrize("path", ["nowhere", "no/such/folder", "./a/b", "../b", "a/b.safetensors", "a/b.pth", "/a/b"])
def test_what_is_no_repositorys_name_is_looked_for_here(hub, path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        sf.from_pretrained(path)
    with pytest.raises(ValueError, match="is not a repository name: write owner/name"):
        sf.push_to_hub(tiny(), path)
    assert hub.asked == []


def test_what_is_not_on_the_hub(hub):
    (hub.folder / "owner" / "else").mkdir(parents=True)
    for repo, revision, says in (
        ("owner/none", None, "owner/none is not a local folder, and not a repository you can read on the Hub"),
        ("owner/else", None, "owner/else has no weights.safetensors: give a repository that `push_to_hub` wrote"),
        ("owner/else", "v9", "owner/else has no revision 'v9'"),
    ):
        with pytest.raises(FileNotFoundError) as error:
            sf.from_pretrained(repo, revision=revision)
        assert str(error.value).startswith(says)
        assert "\n" not in str(error.value)


def test_without_network():
    """The library itself, told to stay offline."""
    code = """
import spikeformers as sf
for call in (lambda: sf.from_pretrained("owner/name"), lambda: sf.push_to_hub(sf.create_model(
    "spikformer_4_384_cifar10", dim=16, depth=1, num_heads=2), "owner/name")):
    try:
        call()
    except OSError as error:
        print(type(error).__name__, error)
"""
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": "no-such-cache"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    fetched, sent = run.stdout.splitlines()
    assert fetched.startswith(
        "FileNotFoundError owner/name is not a local folder, and the Hub cannot be reached: check"
    )
    assert sent.startswith("ConnectionError owner/name was not uploaded (")


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), RuntimeError("no route\n"), OSError()])
def test_any_other_fault_is_one_line(hub, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", fail)
    with pytest.raises(FileNotFoundError, match=rf"^{REPO} cannot be fetched from the Hub \((no route|OSError)\): .*$"):
        sf.from_pretrained(REPO)
    with pytest.raises(
        ConnectionError, match=rf"^{REPO} was not uploaded \((no route|OSError)\): check the network.*$"
    ):
        sf.push_to_hub(tiny(), REPO)


def test_a_foreign_part_from_the_hub_is_refused(hub, tmp_path):
    (tmp_path / "own.py").write_text("from spikeformers.layers.attention import SSA\n\nclass Own(SSA): pass\n")
    own = f"{tmp_path / 'own.py'}:Own"
    sf.push_to_hub(tiny(attention=own), REPO, recipe={"model": {"attention": {"part": own, "scale": 0.5}}})
    assert str(tmp_path) not in "".join(file.read_text("utf-8", "replace") for file in (hub.folder / REPO).iterdir())
    assert read_checkpoint(hub.folder / REPO).settings["recipe"]["model"]["attention"]["part"] == "own.py:Own"
    with pytest.raises(ValueError, match=r"attention 'own.py:Own' is not a part of .*pass it as attention="):
        sf.from_pretrained(REPO)
    assert sf.from_pretrained(REPO, attention=own).config["attention"] == own
