"""What all tests share. Test files cannot import each other: helpers are fixtures that return functions."""

import copy
import gc
import os

import pytest
import torch
import torch.distributed as dist
from tiny_models import build
from torch import nn

pytest_plugins = ["tiny_runs", "tiny_dense"]  # fixtures of those tests that train

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # kernels on the CPU; read when triton is first imported

torch.set_num_threads(1)  # tiny tensors: more threads only wait for each other


def pytest_collection_finish():
    """Libraries leave a million objects that no test frees: to look through them again and again takes a fifth of the
    time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def nan_in_uninitialised_memory(request):
    """In tests of ops, neurons and the engine `torch.empty` and its kin return NaN, so that reading it shows."""
    if request.path.parent.name not in ("ops", "neurons") and request.path.name != "test_engine.py":
        yield
        return
    torch.use_deterministic_algorithms(True)  # with torch.utils.deterministic.fill_uninitialized_memory, on by default
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def dyadic():
    """Draws integers / 1024 within +-4, on which fp32 membranes are exact while T log2(tau) <= 11."""
    return lambda *shape: torch.randint(-4096, 4097, shape) / 1024


@pytest.fixture(scope="session")
def lively():
    """Makes a module spike in eval mode: norms that lift their output, and running statistics that have seen `x`."""

    def lively(module: nn.Module, x: torch.Tensor) -> nn.Module:
        for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
            nn.init.normal_(norm.weight, 2.0, 0.2)
            nn.init.normal_(norm.bias, 0.7, 0.2)
            norm.momentum = 1.0
        module.train()(x)
        return module.eval()

    return lively


@pytest.fixture
def parameters_without_gradient():
    """Runs forward and backward in training, on a copy; names the parameters (and the input, "x") whose gradient is
    missing or not finite."""

    def faulty(module: nn.Module, x: torch.Tensor) -> list[str]:
        module, x = copy.deepcopy(module).train(), x.detach().requires_grad_()
        y = module(x)
        (y * torch.randn_like(y)).sum().backward()
        named = {"x": x, **{name: p for name, p in module.named_parameters() if p.requires_grad}}  # but what is frozen
        return [name for name, p in named.items() if p.grad is None or not p.grad.isfinite().all()]

    return faulty


@pytest.fixture
def tiny(request, lively):
    """A model in eval mode that spikes, and an input for it: a batch of 3 images, or of 3 clips of 4 steps."""
    model = build(request.param)
    size = model.image_size
    rates = torch.tensor([0.05, 0.4, 2.0]).view(3, 1, 1, 1) * torch.rand(4, 3, model.in_channels, size, size)
    clips = torch.poisson(rates)
    images = torch.tensor([0.3, 1.0, 3.0]).view(3, 1, 1, 1) * torch.randn(3, model.in_channels, size, size)
    x = clips if model.in_channels == 2 else images
    return lively(model, x), x


@pytest.fixture
def in_two_processes(tmp_path):
    """Calls `function(rank, *arguments)` in two forked processes of a gloo group, and returns what each returns: no
    tensors, which would be shared. Neither a crash nor a hang of one holds up the tests."""
    context = torch.multiprocessing.get_context("fork")  # no imports anew

    def call(rank, sender, function, arguments):
        torch.set_num_threads(1)
        dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=rank, world_size=2)
        sender.send(function(rank, *arguments))
        dist.barrier()
        dist.destroy_process_group()

    def run(function, *arguments):
        pipes = [context.Pipe(duplex=False) for _ in range(2)]
        both = [
            context.Process(target=call, args=(rank, sender, function, arguments))
            for rank, (_, sender) in enumerate(pipes)
        ]
        for one in both:
            one.start()
        try:
            for receiver, _ in pipes:
                assert receiver.poll(60), "a process has no answer after 60 s"
            answers = [receiver.recv() for receiver, _ in pipes]
            for one in both:
                one.join(30)
            assert [one.exitcode for one in both] == [0, 0]
        finally:
            for one in both:
                one.kill()
        return answers

    return run
