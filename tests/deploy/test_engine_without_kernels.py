"""An engine that was made with the kernels and works without them, or the other way round."""

import pytest
import torch
from tiny_models import build

from spikeformers.deploy import load_engine, spike_engine
from spikeformers.ops.spike_product import kernels, without_kernels

pytestmark = pytest.mark.skipif(kernels() is None, reason="this machine has no C++ compiler")


@pytest.fixture
def said(caplog):
    return lambda: [record.message for record in caplog.records if record.name == "spikeformers"]


@pytest.fixture(scope="module")
def model(lively):
    torch.manual_seed(0)
    model = build("spikformer", depth=1)
    return lively(model, images(model))


def images(model):
    return torch.randn(2, model.in_channels, model.image_size, model.image_size)


def test_torch_runs_an_engine_that_was_made_with_them(model, monkeypatch):
    x = images(model)
    engine = spike_engine(model, x)
    for step in engine.steps:
        step.way = "sparse" if "sparse" in step.ways else step.way
    monkeypatch.setattr("spikeformers.ops.spike_product.native.library", lambda: pytest.fail("a kernel is called"))
    with without_kernels():
        torch.testing.assert_close(engine(x), model(x), rtol=1e-3, atol=1e-3)


def test_loading_it_where_there_are_none_says_what_is_lost(model, tmp_path, said):
    x = images(model)
    engine = spike_engine(model, x)
    products = [step for step in engine.steps if step.what == "product"]
    for number, step in enumerate(products):
        step.way = "dense" if number < 2 else "sparse"
    path = engine.save(tmp_path / "engine.safetensors")
    with without_kernels():
        again = load_engine(path)
        torch.testing.assert_close(again(x), model(x), rtol=1e-3, atol=1e-3)
    assert said() == [
        f"{path} was planned with the spike kernels, and there are none here: torch computes all of it, and "
        f"{len(products) - 2} products no longer skip zeros"
    ]
    assert {row.way for row in again.plan if row.what == "product"} == {"dense"}
    assert [row.density for row in again.plan] == [row.density for row in engine.plan]


def test_loading_one_that_was_planned_without_them_says_so(model, tmp_path, said):
    x = images(model)
    with without_kernels():
        path = spike_engine(model, x).save(tmp_path / "engine.safetensors")
        load_engine(path)
    assert not said()
    engine = load_engine(path)
    assert said() == [f"{path} was planned without the spike kernels: call its tune(batches) to plan it with them"]
    engine.tune([x])
    load_engine(engine.save(path))
    assert len(said()) == 1
    torch.testing.assert_close(engine(x), model(x), rtol=1e-3, atol=1e-3)
