"""Without memory or threads the kernels raise one line, and the process goes on."""

import json
import os
import re
import subprocess
import sys

import pytest

from spikeformers.ops.spike_product import build, kernels

# Calls the kernels while the process may take only a little more memory.
SCRIPT = """
import json, os, resource
import torch
from spikeformers.ops.lif import native as neurons
from spikeformers.ops.spike_product import Neuron, Window, training
from spikeformers.ops.spike_product.product import SpikeProduct, attention, fire, max_pool
from spikeformers.ops.surrogate import Sigmoid

threads = 1
torch.get_num_threads = lambda: threads  # torch itself starts none

def product(channels, groups=1):
    made = SpikeProduct(torch.ones(channels if groups > 1 else 1, channels // groups, 1, 1), groups=groups)
    return lambda x: made(x, 1)[1]

def gradient(x):
    return neurons.gradients(x, None, None, x, 2.0, None, 1.0, 0.0, True, True, Sigmoid())

def weight_gradient(x):
    grad = torch.ones(len(x), 1, *x.shape[2:])
    return training.weight_gradient(x, grad, torch.zeros(1, x.shape[1], 1, 1), Window((1, 1)), counts=False)

def attend(x):
    return attention(x, x, x, 1.0)

def bytes_of(*shape):
    return torch.ones(shape, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)

maps, heads, flow = bytes_of(100, 32, 16, 16), torch.ones(1, 100, 1, 4, 8, dtype=torch.uint8), torch.randn(1, 100 << 14)
of_many_tasks = {
    "sf_conv": (product(32), maps),
    "sf_depthwise": (product(32, 32), maps),
    "sf_neuron": (lambda x: fire(x, Neuron()), flow),
    "sf_max_pool": (lambda x: max_pool(x, Window((2, 2), (2, 2))), maps),
    "sf_attention": (attend, heads),
    "sf_weight_grad": (weight_gradient, maps),
    "sf_lif": (lambda x: neurons.fire(x, 2.0, 1.0, 0.0, True), flow),
    "sf_lif_grad": (gradient, flow),
}
maps, heads = bytes_of(2, 1100, 1, 16384), torch.ones(1, 2, 1, 1, 8000, dtype=torch.uint8)
of_much_memory = {  # in one piece over 32 MB, for which no old one is used
    "sf_conv": (product(1100), maps),
    "sf_attention": (attend, heads),
    "sf_weight_grad": (weight_gradient, maps),
    "sf_lif_grad": (gradient, torch.randn(1 << 20, 1)),
}
for title, count, calls in (
    ("memory, 1", 1, of_much_memory), ("threads, 100", 100, of_many_tasks), ("memory, 2", 2, of_much_memory)
):
    for name, (call, x) in calls.items():
        now, ours = int(open("/proc/self/statm").read().split()[0]), len(os.listdir("/proc/self/task"))
        threads = count
        resource.setrlimit(resource.RLIMIT_AS, (now * resource.getpagesize() + (24 << 20), resource.RLIM_INFINITY))
        try:
            call(x)
            said = None
        except (MemoryError, RuntimeError) as error:
            said = [type(error).__name__, str(error)]
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert len(os.listdir("/proc/self/task")) == ours, "a thread was left behind"
        threads = 1
        assert calls is of_much_memory or call(x).count_nonzero()
        print(json.dumps([title, name, said]), flush=True)
"""
NO_MEMORY = ["MemoryError", "there is not enough memory for the spike kernels: give them fewer images at once"]
NO_THREADS = [
    "RuntimeError",
    "the spike kernels cannot start their threads: torch.set_num_threads(1) lets them do without",
]


@pytest.mark.skipif(kernels() is None or sys.platform != "linux", reason="no compiler, or memory without limits")
def test_kernels_without_memory_or_threads_raise_and_the_process_goes_on():
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    said = {(title, name): line for title, name, line in map(json.loads, run.stdout.splitlines())}
    assert run.returncode == 0, f"{said}\n{run.stderr}"
    keeping = ("sf_conv", "sf_attention", "sf_weight_grad", "sf_lif_grad")
    alone = {"sf_lanes", "sf_bytes"}  # start no threads
    assert said == {
        **{(title, name): NO_MEMORY for title in ("memory, 1", "memory, 2") for name in keeping},
        **{("threads, 100", name): NO_THREADS for name in build._ARGUMENTS if name not in alone},
    }


def test_no_exception_leaves_a_c_function():
    source = build.SOURCE.read_text()
    names = re.findall(r'^extern "C" \w+ (\w+)\(', source, re.MULTILINE)
    guarded = re.findall(
        r'^extern "C" int (\w+)\([^{]*\) try \{\n(?:(?!^\}).*\n)*^\} catch \(\.\.\.\) \{\n    return status\(\);\n\}',
        source,
        re.MULTILINE,
    )
    assert set(names) == set(build._ARGUMENTS) and set(names) - set(guarded) == {"sf_lanes"}
