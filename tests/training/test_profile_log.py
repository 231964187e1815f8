"""Operations and energy in TensorBoard."""

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from spikeformers.analysis import CONVENTIONS
from spikeformers.training import fit

SMALL = dict(
    model={"dim": 16, "depth": 1, "num_heads": 2, "strides": [2, 2, 1, 1], "time_steps": 2},
    epochs=1, batch_size=32, schedule={"warmup_epochs": 0},
    trainer={"limit_train_batches": 5, "limit_val_batches": 1, "enable_progress_bar": False, "accelerator": "cpu"},
)  # fmt: skip


def weights(folder):
    from spikeformers.checkpoints.read import read_checkpoint

    return read_checkpoint(folder).weights


def test_counts_at_an_interval_and_training_as_without(tmp_path):
    counted = fit("digits", **SMALL, profile_every=2, out=str(tmp_path), run="counted")
    plain = fit("digits", **SMALL, profile_every=0, out=str(tmp_path), run="plain")

    def scalars(run):
        events = EventAccumulator(str(run / "tensorboard"))
        events.Reload()
        return events

    events = scalars(counted.run)
    for name in CONVENTIONS:
        points = events.Scalars(f"energy/{name}")
        assert [point.step for point in points] == [1, 3, 5]
    assert all(point.value > 0 for point in events.Scalars("energy/strict"))  # the image is multiplied at least
    assert "rate/blocks.0.mlp.core.neuron" in events.Tags()["scalars"]
    assert not any(tag.startswith(("energy/", "rate/")) for tag in scalars(plain.run).Tags()["scalars"])
    ours, others = weights(counted.run), weights(plain.run)
    assert all(torch.equal(ours[key], others[key]) for key in others)
