"""Two processes on a CPU, as torchrun starts them, over gloo: one global batch, exact metrics, one that writes."""

import logging
import multiprocessing
import os
import signal
import socket

import pytest
import torch
from safetensors.torch import load_file

from spikeformers.data import load_images
from spikeformers.models import from_pretrained, read_checkpoint
from spikeformers.training import fit
from spikeformers.training.evaluate import evaluate
from spikeformers.training.loaders import eval_loader
from spikeformers.training.module import TrainingModule

SETTINGS = {
    "optimizer": {"name": "sgd", "lr": 0.1, "args": {"momentum": 0.0, "nesterov": False}},
    "data.validation": 0.25,  # 15 images, and 12 for the test
    "sync_norm": True,
    "trainer": {"accelerator": "cpu", "strategy": "ddp", "enable_progress_bar": False},
}


def process(rank, port, recipe_file, out, settings, told):
    """Ends with 143 where one of the two is sent SIGTERM at a step, `told` (rank, batch)."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
        "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
    }  # fmt: skip
    logging.disable()
    torch.set_num_threads(1)
    training_step = TrainingModule.training_step

    def step(self, batch, batch_idx):
        if told == (rank, batch_idx):
            os.kill(os.getpid(), signal.SIGTERM)
        return training_step(self, batch, batch_idx)

    TrainingModule.training_step = step
    settings = {**SETTINGS, **settings, "trainer": {**SETTINGS["trainer"], "devices": 2}}
    fit(recipe_file, out=out, run="two", batch_size=6, **settings)


@pytest.fixture
def train_on_two(recipe_file, tmp_path, without_pictures):
    def train_on_two(told=None, **settings):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        fork = multiprocessing.get_context("fork")
        processes = [
            fork.Process(target=process, args=(rank, port, recipe_file, str(tmp_path), settings, told))
            for rank in range(2)
        ]
        for one in processes:
            one.start()
        for one in processes:
            one.join(120)
        return tmp_path / "two", [one.exitcode for one in processes]

    return train_on_two


def test_two_processes_train_as_one_at_the_same_global_batch(train_on_two, train, rows_of, images):
    run, codes = train_on_two()
    assert codes == [0, 0]
    one = train("one", **SETTINGS, batch_size=12).run
    ours, theirs = (torch.load(r / "checkpoints" / "last.ckpt", weights_only=True) for r in (run, one))
    assert ours["global_step"] == theirs["global_step"] == 3
    for key, value in theirs["state_dict"].items():
        assert torch.allclose(ours["state_dict"][key].float(), value.float(), rtol=1e-4, atol=1e-5), key
    entries = [{str(path.relative_to(r)) for path in r.rglob("*") if "tfevents" not in path.name} for r in (run, one)]
    assert entries[0] == entries[1]
    assert len(list(run.rglob("*tfevents*"))) == 1


def test_metrics_are_exact_where_the_data_does_not_divide(train_on_two, rows_of, images):
    run, codes = train_on_two()
    assert codes == [0, 0]
    (row,) = rows_of(run)
    validation = load_images(str(images), validation=0.25).validation
    assert len(validation) == 15
    scores = evaluate(from_pretrained(run), eval_loader(validation, read_checkpoint(run).settings["preprocess"], 5, 0))
    assert float(row["val_acc"]) == pytest.approx(scores.top1, rel=1e-4)  # of 15: 5.3333 apart is one image
    assert float(row["val_loss"]) == pytest.approx(scores.loss, rel=1e-4)


def test_one_that_is_told_to_stop_stops_both(train_on_two, train, tmp_path):
    run, codes = train_on_two(told=(1, 1), epochs=2)
    assert codes == [143, 143]
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2


def test_without_synchronised_norms_they_are_not_one(train_on_two, train):
    """The first test would see it."""
    run, codes = train_on_two(sync_norm=False)
    assert codes == [0, 0]
    one = train("one", **{**SETTINGS, "sync_norm": False}, batch_size=12)
    ours, theirs = load_file(run / "weights.safetensors"), load_file(one.weights)
    key = "blocks.0.mlp.core.fc1.norm.running_var"
    assert not torch.allclose(ours[key], theirs[key], rtol=1e-4, atol=1e-5)
