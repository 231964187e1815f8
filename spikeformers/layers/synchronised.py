"""Statistics over the batches of all processes: batch norm, means and variances."""

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Module = TypeVar("Module", bound=nn.Module)


def synchronise(model: Module) -> Module:
    """Makes a model's norms, and parts with a `synchronised` of their own, share statistics between all processes of a
    run; returns the model.

    Several processes then compute what one does on all their batches, on any backend: torch's SyncBatchNorm needs GPUs.
    A single process, evaluation and keys are unaffected.

    Raises ValueError for norms of other kinds, which would keep statistics per process, and for norms on a detector's
    regions: a process without any would skip them, and the others would wait.
    """
    for name, module in model.named_modules():
        if getattr(module, "on_regions", False) and any(type(part) is nn.BatchNorm2d for part in module.modules()):
            raise ValueError(
                f"{name} has norms on regions, of which a process may have none, and the others would wait for it: "
                "set model.head_conv PlainConv, or leave out sync_norm"
            )
        if isinstance(module, nn.modules.batchnorm._NormBase) and (
            type(module) is not nn.BatchNorm2d or module.momentum is None
        ):
            raise ValueError(
                f"{name} is a {type(module).__name__}, which cannot synchronise: use BatchNorm2d with a momentum"
            )
    sharing: Any = (m for m in model.modules() if type(m) is nn.BatchNorm2d or hasattr(m, "synchronised"))
    for module in sharing:
        module.synchronised = True
    return model


def spans_processes(part: Any) -> bool:
    """Whether a norm, or a part with statistics of its own, must use those of several processes."""
    if not (part.training and getattr(part, "synchronised", False)):
        return False
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def mean_across(mean: Tensor, count: int) -> Tensor:
    """The mean over all processes of means over `count` numbers each, with its gradient: any shape, kept."""
    sums: Any = _SumAcross.apply(torch.cat([mean.flatten() * count, mean.new_tensor([count])]))
    return (sums[:-1] / sums[-1]).view_as(mean)


def variance_across(x: Tensor) -> Tensor:
    """The variance of each channel over all processes, with its gradient: `[..., C, H, W] -> [C]`."""
    x = x.transpose(0, -3).flatten(1)  # C N
    mean = mean_across(x.mean(1), x.shape[1])
    return mean_across((x - mean[:, None]).square().mean(1), x.shape[1])


def norm_across(norm: Any, x: Tensor, repeats: int) -> tuple[Tensor, Tensor, Tensor]:
    """`norm` of `[N, C, H, W]` with the statistics of all processes: the output, their mean and 1 / deviation, `[C]`.

    Processes exchange count, mean and variance per channel, so unequal batches get their weights; sums of squares would
    lose variances that are small beside the mean. Running statistics count each number `repeats` times.
    """
    with torch.no_grad():
        wide = x.detach().to(torch.promote_types(x.dtype, torch.float32))  # on a CPU statistics have the input's type
        mean, variance = torch.ops.aten.batch_norm_update_stats(wide, None, None, 0.0)
        count = torch.full_like(mean[:1], x.numel() // x.shape[1])
        each = [torch.empty_like(torch.cat([count, mean, variance])) for _ in range(dist.get_world_size())]
        dist.all_gather(each, torch.cat([count, mean, variance]))
        counts, means, variances = torch.stack(each).split([1, len(mean), len(mean)], 1)  # processes, C
        total = counts.sum()
        mean = (counts * means).sum(0) / total
        variance = (counts * (variances + (means - mean).square())).sum(0) / total
        unbiased = variance * (repeats * total / (repeats * total - 1))
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
        norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)
        norm.num_batches_tracked.add_(1)
    y: Any = _NormAcross.apply(x, norm.weight, norm.bias, mean, variance, total, norm.eps)
    return y, mean, (variance + norm.eps).rsqrt()


class _SumAcross(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _SumAcross.forward(ctx, grads[0])


class _NormAcross(torch.autograd.Function):
    """Batch norm by given statistics, with their gradient through the inputs of all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, *statistics: Any) -> Tensor:
        mean, variance, total, eps = statistics
        ctx.save_for_backward(x, weight, mean, variance, total)
        ctx.eps = eps
        return torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, total = ctx.saved_tensors
        grad_x, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grads[0].contiguous(memory_format=_format_of(x)), x, weight, mean, variance, None, None, False, ctx.eps,
            [True, True, True],
        )  # fmt: skip
        sums = torch.stack([grad_weight, grad_bias])  # of this process; DDP reduces the parameters' gradients
        dist.all_reduce(sums)
        of_products, of_grads = sums / total
        inverse_std = (variance + ctx.eps).rsqrt()
        by_x = weight * inverse_std * inverse_std * of_products
        by_one = weight * inverse_std * of_grads - mean * by_x
        grad_x = grad_x - torch.addcmul(by_one.view(-1, 1, 1), x, by_x.view(-1, 1, 1)).to(grad_x.dtype)
        return grad_x, grad_weight, grad_bias, None, None, None, None


def _format_of(x: Tensor) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last and not x.is_contiguous() else torch.contiguous_format
