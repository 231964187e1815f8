"""Two processes on a CPU, as torchrun starts them, over gloo: one global batch, exact metrics, one that writes."""

import json
import os
import socket
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from spikeformers.checkpoints.load import from_pretrained
from spikeformers.checkpoints.read import read_checkpoint
from spikeformers.data import load_images
from spikeformers.data.eval_shards import Share, collate
from spikeformers.evaluation.dense import BoxMeter
from spikeformers.evaluation.evaluate import evaluate
from spikeformers.training.loaders import eval_loader

SETTINGS = {
    "optimizer": {"name": "sgd", "lr": 0.1, "args": {"momentum": 0.0, "nesterov": False}},
    "data.validation": 0.25,  # 15 images, and 12 for the test
    "sync_norm": True,
    "oversubscribe": True,  # on one core, too
    "trainer": {"accelerator": "cpu", "strategy": "ddp", "enable_progress_bar": False},
}
SCRIPT = """
    import json, os, signal, sys
    import torch
    from spikeformers.training import fit
    from spikeformers.training.module import TrainingModule

    recipe, settings, told = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
    torch.set_num_threads(1)
    training_step = TrainingModule.training_step

    def step(self, batch, batch_idx):
        if told == [self.global_rank, self.current_epoch, batch_idx]:
            os.kill(os.getpid(), signal.SIGTERM)
        return training_step(self, batch, batch_idx)

    TrainingModule.training_step = step
    fit(recipe, **settings)
"""


@pytest.fixture
def train_on_two(recipe_file, tmp_path):
    """The run's folder, and the exit codes of both; `told` is who is sent SIGTERM when: process, epoch, step."""

    def train_on_two(told=(), **settings):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = str(s.getsockname()[1])
        settings = {**SETTINGS, **settings, "out": str(tmp_path), "run": "two", "batch_size": 6}
        settings["trainer"] = {**SETTINGS["trainer"], "devices": 2}
        words = [sys.executable, "-c", textwrap.dedent(SCRIPT), recipe_file, json.dumps(settings), json.dumps(told)]
        started = {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
        started |= {"LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "OMP_NUM_THREADS": "1"}
        processes = [
            subprocess.Popen(words, env={**os.environ, **started, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01"
        ]
        try:
            return tmp_path / "two", [one.wait(200) for one in processes]
        finally:
            for one in processes:
                one.kill()

    return train_on_two


def test_two_processes_train_as_one_at_the_same_global_batch(train_on_two, train, rows_of, images):
    run, codes = train_on_two()
    assert codes == [0, 0]
    one = train("one", **SETTINGS, batch_size=12).run
    dist.destroy_process_group()  # Lightning leaves it, and forked processes would have it too
    ours, theirs = (torch.load(r / "checkpoints" / "last.ckpt", weights_only=True) for r in (run, one))
    assert ours["global_step"] == theirs["global_step"] == 3
    for key, value in theirs["state_dict"].items():
        assert torch.allclose(ours["state_dict"][key].float(), value.float(), rtol=1e-4, atol=1e-5), key

    # 15 validation images in batches of 6: 8 of one process and 7 of the other
    (row,) = rows_of(run)
    sets = load_images(str(images), validation=0.25)
    assert len(sets.validation) == 15
    split = sets.prepared(sets.validation, read_checkpoint(run).settings["preprocess"], {})
    scores = evaluate(from_pretrained(run), eval_loader(split, 5, 0))
    assert float(row["val_acc"]) == pytest.approx(scores.top1, rel=1e-4)
    assert float(row["val_loss"]) == pytest.approx(scores.loss, rel=1e-4)

    pictures = {"curves.png", "predictions.png", "samples"}  # those of `one` are not drawn
    entries = [{str(path.relative_to(r)) for path in r.rglob("*")} - pictures for r in (run, one)]
    same = [{entry for entry in those if not entry.startswith(("samples/", "tensorboard/"))} for those in entries]
    assert same[0] - same[1] == set() == same[1] - same[0]
    assert len(list(run.rglob("*tfevents*"))) == 1


def score(rank, parts):
    """Scores two or three of five images."""

    def image(i):
        box, masks = torch.tensor([[0.0, 0.0, 8.0, 4.0 + i]]), torch.zeros(1, 16, 16, dtype=torch.uint8)
        masks[:, : 4 + i, :8] = 1
        target = {"boxes": box, "labels": torch.tensor([0]), "iscrowd": torch.tensor([False]), "masks": masks}
        return torch.tensor(i), {key: target[key] for key in (*parts, "iscrowd")}

    class Finds(torch.nn.Module):  # the truth of each image but the second, of which it finds nothing
        head = SimpleNamespace(learns_from=parts)

        def forward(self, x):
            found = [{**image(int(i))[1], "scores": torch.tensor([0.9])} for i in x]
            return [{key: value[: int(i != 1)] for key, value in one.items()} for i, one in zip(x, found, strict=True)]

    meter, share = BoxMeter(Finds()), Share([image(i) for i in range(5)], rank, 2)
    for first in (0, 2):  # batches of two: the last of the second process is padding alone
        x, targets = collate([share[i] for i in range(first, min(first + 2, len(share)))])
        meter.update(Finds(), x, targets)
    return meter.images, *meter.compute().values()


@pytest.mark.parametrize("parts", [("boxes", "labels"), ("boxes", "labels", "masks")], ids=["boxes", "masks"])
def test_two_processes_score_a_detector_on_every_image_once(parts, in_two_processes):
    (images, *scores), (others, *same) = in_two_processes(score, parts)
    assert [images, others] == [3, 2]
    assert scores == same == pytest.approx([80] * len(scores), abs=1)  # four of five, in 101 points


def test_one_that_is_told_to_stop_stops_both(train_on_two):
    run, codes = train_on_two(told=(1, 0, 1), epochs=2)
    assert codes == [143, 143]
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2
