"""What a training step keeps for its backward pass, beside SpikingJelly: a table of docs/performance.md.

python benchmarks/memory.py
"""

import contextlib

import torch
from torch import Tensor, nn

from spikeformers.analysis.bench_models import clear_state, make_way, random_input

NAME, BATCH = "spikformer_4_384_cifar10", 8


def kept(model: nn.Module, x: Tensor, bf16: bool) -> float:
    """MiB per image of tensors that autograd holds after a forward pass, parameters left out."""
    storages = {}
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    autocast = torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), autocast:
        y = model.train()(x)
    clear_state(model)
    del y
    return sum(size for pointer, size in storages.items() if pointer not in parameters) / len(x) / 2**20


def main() -> None:
    print(f"`{NAME}`, batch {BATCH}, MiB per image\n")
    print("| T | dtype | plain | share | lean | share | SpikingJelly |\n|--:|---|--:|--:|--:|--:|--:|")
    for time_steps in (4, 8, 16):
        for bf16 in (False, True):
            sizes = {}
            for way in ("plain", "lean", "spikingjelly"):
                model = make_way(way, NAME, time_steps=time_steps)
                x = random_input(make_way("plain", NAME, time_steps=time_steps), BATCH)
                sizes[way] = kept(model, x, bf16)
            shares = {way: f"{sizes[way] / sizes['spikingjelly']:.2f}" for way in sizes}
            cells = [f"{sizes['plain']:.1f}", shares["plain"], f"{sizes['lean']:.1f}", shares["lean"]]
            dtype = "bf16 autocast" if bf16 else "fp32"
            print(f"| {time_steps} | {dtype} | {' | '.join(cells)} | {sizes['spikingjelly']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
