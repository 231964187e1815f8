"""Published energies, the firing rates behind them, and what they become with memory: the table of docs/energy.md.

python benchmarks/published_energy.py [MODEL ...] > table.md

No paper here prints its firing rates. So each network is counted once, with random weights on two images of noise, and
its rates are scaled until the paper's own convention gives the published figure; the convention `memory` and the dense
twin are then taken at that rate. Scaling all layers alike is our choice.
"""

import sys
from dataclasses import replace

import torch

import spikeformers as sf
from spikeformers.analysis import MEMORY, profile
from spikeformers.analysis.memory_energy import dense_twin, spiking_bill
from spikeformers.evaluation.subject import set_norms

PUBLISHED = {  # mJ per image at 224 x 224, and the convention of the paper
    "spikformer_8_384": (7.734, "spikformer"),
    "spikformer_8_512": (11.577, "spikformer"),
    "sdt_8_384": (3.90, "sdt"),
    "sdt_8_512": (4.50, "sdt"),
    "qkformer_10_384": (15.13, "spikformer"),
    "qkformer_10_512": (21.99, "spikformer"),
    "spikingresformer_ti": (2.46, "spikingresformer"),
    "spikingresformer_s": (3.37, "spikingresformer"),
    "spikingformer_8_512": (7.46, "spikingformer"),
    "spikingformer_8_768": (13.68, "spikingformer"),
    "sdt_v2_15m": (16.7, "sdt"),
    "sdt_v2_31m": (32.8, "sdt"),
    "sdt_v3_19m": (5.9, "integer"),
}
STEPS = {"sdt_v2_15m": 4, "sdt_v2_31m": 4}  # where the figure is of another T than the name's


def row(name: str) -> str:
    published, convention = PUBLISHED[name]
    torch.manual_seed(0)
    model = sf.create_model(name, **({"time_steps": STEPS[name]} if name in STEPS else {})).eval()
    x = torch.randn(2, 3, 224, 224)
    set_norms(model, x)
    found = profile(model, [x[:1]])
    counted = found.total(convention)
    multiplied = counted.costs.millijoules(0, counted.mac)
    scale = (published - multiplied) / (counted.millijoules - multiplied)
    bill, twin = spiking_bill(found.layers, found.samples, found.steps), found.twin
    shared = dense_twin(found.layers, found.samples, found.steps, replace(MEMORY, reuse=16))
    memory = (bill.fixed + scale * bill.spiking) * 1e-9
    cells = [
        f"`{name}`",
        f"{found.steps}",
        f"{published:g}",
        convention,
        f"{100 * scale * twin.rate:.1f} %",
        f"{multiplied:.2f}",
        f"{memory:.2f}",
        *(one for t in (twin, shared) for one in (f"{t.millijoules:.2f}", even(t.break_even))),
    ]
    return f"| {' | '.join(cells)} |"


def even(rate: float | None) -> str:
    return "none" if rate is None else f"{100 * rate:.1f} %"


def main(*names: str) -> None:
    print("| model | T | published | its convention | rate | MACs | `memory` | twin | even at | reuse 16 | even at |")
    print("|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|")
    for name in names or PUBLISHED:
        print(row(name), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
