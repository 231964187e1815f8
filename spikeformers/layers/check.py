"""Check that a part keeps its contract, on a given input."""

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from spikeformers.layers.contracts import declared, step_of
from spikeformers.layers.stepping import Stepping

# The contracts, as error messages state them.
SHAPE = "returns the shape that its slot asks for"
STATE = "keeps no state between calls"
CAUSAL = "looks ahead in time only where it declares causal = False"
SAMPLES = "computes each sample of a batch independently of the others"
STEPS = "gives at each step what it gives for all steps at once"
LEVELS = "declares levels, and emits only those"


def breach(name: str, part: nn.Module, contract: str, found: str) -> ValueError:
    """The error for a part that breaks a contract; `found` is the evidence."""
    return ValueError(f"{type(part).__name__} ({name}) breaks the contract that a part {contract}: {found}")


@torch.no_grad()
def check_part(name: str, part: nn.Module, x: Tensor) -> None:
    """Raises ValueError, naming part and contract in one line, for a part that breaks one on `x`, `[T, B, ...]`.

    Runs a copy in eval mode, with its norms' statistics from `x`; the part is unchanged. `x` needs two steps, to reveal
    a look ahead, and two samples. For shapes see `check_shape`.
    """
    part = copy.deepcopy(part).to(x.device)
    for norm in (module for module in part.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)):
        norm.momentum = 1.0
    part.train()(x)
    part.eval()
    y = part(x)
    if not _same(part(x), y):
        raise breach(name, part, STATE, "the same input twice gave two answers")
    part.train()
    answers = []
    for _ in range(2):
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):  # random draws may differ between calls
            torch.manual_seed(0)
            answers.append(part(x))
    if not _same(*answers):
        raise breach(name, part, STATE, "in training, the same input twice gave two answers")
    part.eval()
    alone = part(x[:, :1])
    if alone.shape[1:] == y[:, :1].shape[1:] and not _same(alone, y[:, :1]):
        raise breach(name, part, SAMPLES, "an image gave one answer alone and another in a batch")
    if _may_not_look_ahead(part):
        for t in range(1, len(x)):
            changed = torch.cat([x[:t], x[t:].flip(1) + 1])
            if not _same(part(changed)[:t], y[:t]):
                raise breach(name, part, CAUSAL, f"an input at step {t} changed what came out before it")
        if step_of(part):
            check_steps(name, part, x)
    if levels := getattr(part, "levels", None):
        check_levels(name, part, y, levels)


@torch.no_grad()
def check_steps(name: str, part: nn.Module, x: Tensor) -> None:
    """Raises ValueError for a part in eval mode that answers differently one step at a time than on `x`, `[T, B, ...]`.

    In float64, where rounding flips no spike, or in the precision of `x` for a part that cannot be converted.
    """
    precise, like, tolerance = copy.deepcopy(part).eval().to(x.device).double(), x.double(), 1e-9
    try:
        y = precise(like)
    except RuntimeError:  # it computes in a precision of its own
        precise, like, tolerance = copy.deepcopy(part).eval().to(x.device), x, 1e-4
        y = precise(like)
    stepping = Stepping(precise)
    remedy = "" if step_of(part) else ". It has no step: give it remembers, initial and step (docs/contracts.md)"
    state: Iterable[Tensor] = stepping.initial(like[0]).values()
    for t, now in enumerate(like):
        y_t, *state = stepping(now, *state)
        if y_t.shape != y[t].shape or not torch.allclose(y_t, y[t], rtol=tolerance, atol=tolerance):
            raise breach(name, part, STEPS, f"they differ at step {t}{remedy}")


def check_shape(name: str, part: nn.Module, came: Sequence[int], asked: Sequence[int]) -> None:
    """Raises ValueError for a part whose output does not have the shape of its slot."""
    if tuple(came) != tuple(asked):
        raise breach(name, part, SHAPE, f"its output is {list(came)}, not {list(asked)}")


def check_levels(name: str, part: nn.Module, spikes: Tensor, levels: Sequence[float]) -> None:
    """Raises ValueError for a neuron that emits values outside its levels."""
    values = spikes.unique()
    away = (values[:, None] - torch.tensor(levels, dtype=values.dtype, device=values.device)).abs().amin(1)
    if len(away) and away.max() > 1e-5:
        raise breach(name, part, LEVELS, f"it emits {values[away.argmax()]:.4g}, and its levels are {tuple(levels)}")


def _may_not_look_ahead(part: nn.Module) -> bool:
    return all(declared(module, "causal") for module in part.modules())


def _same(a: Tensor, b: Tensor) -> bool:
    # Kernels for other batch sizes round differently; a single spike's difference is far larger.
    return torch.allclose(a, b, rtol=1e-4, atol=1e-4)
