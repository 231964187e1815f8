"""Runs that go wrong are told of in the epoch in which they do."""

import pytest
import torch

from spikeformers.training.module import TrainingModule


@pytest.fixture
def before_step(monkeypatch):
    def before_step(moment, action):
        training_step = TrainingModule.training_step

        def step(self, batch, batch_idx):
            if (self.current_epoch, batch_idx) == moment:
                action(self)
            return training_step(self, batch, batch_idx)

        monkeypatch.setattr(TrainingModule, "training_step", step)

    return before_step


def silence(module):
    norm = module.model.blocks[0].mlp.core.fc1.norm
    torch.nn.init.constant_(norm.bias, -100.0)


def saturate(module):
    norm = module.model.blocks[0].mlp.core.fc1.norm
    torch.nn.init.constant_(norm.bias, 100.0)


@pytest.mark.parametrize(("harm", "said"), [(silence, "never fires: "), (saturate, "fires all the time: ")])
def test_a_neuron_that_is_silent_or_saturated_is_named_once(train, before_step, caplog, harm, said):
    before_step((1, 0), harm)
    train(epochs=3)
    lines = [line for line in caplog.messages if "blocks.0.mlp.core.neuron" in line]
    (line,) = lines
    assert line.startswith("epoch 2: ") and said in line and "optimizer.lr" in line


def test_a_healthy_neuron_is_not_named(train, caplog):
    train(epochs=2)
    assert not any("blocks.0.mlp.core" in line or "explodes" in line for line in caplog.messages)


def explode(module):
    with torch.no_grad():
        module.model.head.linear.weight.mul_(1e4)


def test_an_exploding_loss_is_named(train, before_step, caplog):
    before_step((1, 1), explode)
    train(epochs=2)
    first, *more = [line for line in caplog.messages if "the loss explodes" in line]
    assert "at epoch 2, step 2, up from 1." in first and "lower optimizer.lr" in first
    assert len(more) < 6
