"""What an operation of PyTorch is made of: simpler operations, which can be counted."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from spikeformers.analysis.operations import Operations


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None = None,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Tensor:
    q, k, v, bias = query, key, value, attn_mask if attn_bias is None else attn_bias
    if k.shape[-3] != q.shape[-3]:  # grouped queries
        k, v = (x.repeat_interleave(q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    scores = (q @ k.mT) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    elif bias is not None:
        scores = scores.masked_fill(~bias, float("-inf")) if bias.dtype == torch.bool else scores + bias
    return _softmax(scores, -1) @ v


def _softmax(x: Tensor, axis: int, *_: Any) -> Tensor:
    numbers = (x - x.amax(axis, keepdim=True)).exp()
    return numbers / numbers.sum(axis, keepdim=True)


def _log_softmax(x: Tensor, axis: int, *_: Any) -> Tensor:
    x = x - x.amax(axis, keepdim=True)
    return x - x.exp().sum(axis, keepdim=True).log()


def _added(bias: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    return bias * beta + product * alpha


def _bilinear(a: Tensor, b: Tensor, c: Tensor, at_a: list, at_b: list, at_c: list, axes: list, *_: Any) -> Tensor:
    for i in range(a.ndim + len(at_a)):
        a, b, c = (x.unsqueeze(i) if i in at else x for x, at in ((a, at_a), (b, at_b), (c, at_c)))
    return (a * b * c).sum(axes)


def _distances(a: Tensor, b: Tensor, power: float, *_: Any) -> Tensor:
    return torch.linalg.vector_norm(a.unsqueeze(-2) - b.unsqueeze(-3), power, -1)


REWRITES: dict[str, Callable[..., Any]] = {
    "_softmax": _softmax,
    "_safe_softmax": _softmax,
    "_log_softmax": _log_softmax,
    "lerp": lambda start, end, weight: start + (end - start) * weight,
    "addcmul": lambda x, a, b, *, value=1: x + a * b * value,
    "addcdiv": lambda x, a, b, *, value=1: x + a / b * value,
    "addmm": lambda x, a, b, *, beta=1, alpha=1: _added(x, a @ b, beta, alpha),
    "baddbmm": lambda x, a, b, *, beta=1, alpha=1: _added(x, a @ b, beta, alpha),
    "addmv": lambda x, a, b, *, beta=1, alpha=1: _added(x, a @ b, beta, alpha),
    "addr": lambda x, a, b, *, beta=1, alpha=1: _added(x, a[:, None] * b, beta, alpha),
    "addbmm": lambda x, a, b, *, beta=1, alpha=1: _added(
        x, a.transpose(0, 1).flatten(1) @ b.flatten(0, 1), beta, alpha
    ),
    "_trilinear": _bilinear,
    "_cdist_forward": _distances,
}


def rewrite(func: Any, name: str, ops: Operations, args: Any, kwargs: Any) -> Callable[[], Any] | None:
    """A function that computes an operation from simpler ones, or None if the operation is counted directly."""
    if name.startswith("_scaled_dot_product"):
        named = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False))
        return lambda: _attention(**named, **kwargs)
    if (
        name in ("addmm", "baddbmm")
        and ops.is_weight(args[0])
        and all(kwargs.get(k, 1) == 1 for k in ("alpha", "beta"))
    ):
        return None
    return partial(REWRITES[name], *args, **kwargs) if name in REWRITES else None


@cache
def is_view(func: Any) -> bool:
    """Whether an operation returns a view of its input."""
    return not func._schema.is_mutable and any(result.alias_info is not None for result in func._schema.returns)


@cache
def is_composite(func: Any) -> bool:
    """Whether PyTorch computes an operation from others, on every device."""
    return func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)


def decomposed(func: Any, name: str) -> Callable[..., Any] | None:
    """PyTorch's own decomposition of an operation, or of its variant that is not in place."""
    from torch._decomp import decomposition_table  # takes seconds to import, and is rarely needed

    if func._schema.is_mutable:
        func = getattr(getattr(torch.ops.aten, name, None), func._overloadname.removesuffix("out") or "default", None)
    return decomposition_table.get(func)
