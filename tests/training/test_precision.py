"""bf16 where the processor has it, float32 where bf16 would be slower."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from spikeformers.training import module as module_file
from spikeformers.training import read_recipe
from spikeformers.training.precision import precision_here
from spikeformers.training.provenance import like


@pytest.fixture
def fast_bf16(monkeypatch):
    """Says whether this processor has fast bf16; gives the dtypes of the logits that are trained on."""
    seen = set()
    monkeypatch.setattr(module_file, "percent_right", lambda logits, labels: seen.add(logits.dtype) or torch.zeros(()))

    def fast_bf16(is_fast):
        monkeypatch.setattr("spikeformers.training.precision.bf16_is_fast", lambda: is_fast)
        return seen

    return fast_bf16


def test_autocast_keeps_weights_in_float32(train, fast_bf16, caplog):
    seen = fast_bf16(True)
    result = train(precision="bf16-mixed")
    assert {w.dtype for key, w in load_file(result.weights).items() if "num_batches" not in key} == {torch.float32}
    assert math.isfinite(result.test.loss)
    assert seen == {torch.bfloat16}
    assert "precision" not in caplog.text


def test_a_processor_without_bf16_trains_in_float32_and_says_so(train, fast_bf16, caplog):
    seen = fast_bf16(False)
    run = train(precision="bf16-mixed").run
    assert seen == {torch.float32}
    assert "this processor has no fast bf16: training in precision 32-true instead of bf16-mixed" in caplog.text
    (start,) = json.loads((run / "provenance.json").read_text())
    assert start["precision"] == "32-true"
    caplog.clear()
    train("plain", precision="32-true")
    assert "precision" not in caplog.text


def test_only_the_processor_counts_and_only_for_bf16(fast_bf16):
    fast_bf16(False)
    trainer = {"accelerator": "cpu"}
    for asked, accelerator, given in (
        ("bf16-mixed", "cpu", "32-true"),
        ("bf16-mixed", "gpu", "bf16-mixed"),
        ("16-mixed", "gpu", "16-mixed"),
        ("32-true", "cpu", "32-true"),
    ):
        trainer["accelerator"] = accelerator
        assert precision_here(read_recipe("digits", {"precision": asked, "trainer": trainer})) == given


def test_a_run_that_moves_to_another_processor_says_so(train, fast_bf16, caplog):
    fast_bf16(False)
    train("moved", precision="bf16-mixed")
    seen = fast_bf16(True)
    seen.clear()
    run = train("moved", epochs=2, precision="bf16-mixed", resume=True).run
    assert seen == {torch.bfloat16}
    assert "was last trained in precision 32-true, and goes on in bf16-mixed" in caplog.text
    caplog.clear()
    fast_bf16(False)
    like(run, {"epochs": 1, "run": "again"})
    assert "the precision was bf16-mixed then and is 32-true now" in caplog.text
