"""Run a model one frame at a time, with what it remembers passed in and out."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spikeformers.layers.check import check_steps
from spikeformers.layers.contracts import declared, step_of
from spikeformers.layers.stepping import Stepping
from spikeformers.models import SpikingTransformer
from spikeformers.models.check import is_foreign, probe
from spikeformers.ops.arguments import check_sizes, check_whole
from spikeformers.ops.steps import by_sample

State = tuple[Tensor, ...]


def streaming(model: SpikingTransformer) -> "Stream":
    """Makes a model run one frame at a time: for cameras, and for answers before a recording ends.

        step = sf.deploy.streaming(model)
        state = step.initial(batch_size=2)
        for frame in frames:                        # [B, C, H, W] each
            logits, state = step(frame, state)      # as model.forward_steps(frames) gives, at this step
        step.mean(state)                            # as model(frames) gives

    Nothing is kept outside of `state` between calls. A call is for one thread at a time: give each thread a stream of
    its own, which shares the model's weights. In float64 the answers agree with those for the whole sequence to 1e-14.
    In float32 they agree up to rounding, which flips a spike now and then: sums over channels and steps may run in
    another order.

    Args:
        model: A model of ours. It is unchanged, and its weights are shared; `sf.deploy.fold(model)` runs faster.

    Returns:
        The step, in eval mode, without gradients.

    Raises:
        ValueError: A part looks ahead in time, or mixes steps and has no `step`; the message names it.
    """
    if not isinstance(model, SpikingTransformer):
        raise ValueError(f"a {type(model).__name__} cannot run step by step: give a model of sf.create_model")
    if model.task != "classification":
        raise ValueError(f"a model for {model.task} has no running answer: give a classifier")
    return Stream(model)


class Stream(nn.Module):
    """One step of a model: `frame [B, C, H, W], state -> logits [B, K], state`. Made by `streaming`.

    A state is a tuple of tensors, each with the batch on axis 0, with names in `names`.
    """

    def __init__(self, model: SpikingTransformer):
        super().__init__()
        _check_own_parts(model)
        self.answering = Answering(model)
        self.image_size, self.in_channels = model.image_size, model.in_channels
        self._at_rest: list[State] = []  # of one sample, for each size of images
        self.names: tuple[str, ...] = ()
        self.initial()

    @property
    def model(self) -> SpikingTransformer:
        """The copy of the model that runs, for hooks; it takes no calls of its own."""
        part: Any = self.answering.stepping.part
        return part.model

    @torch.no_grad()
    def forward(self, frame: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, State]:
        self._check(frame, state)
        logits, _, *state = self.answering(frame, *state)
        return logits, tuple(state)

    @torch.no_grad()
    def initial(self, batch_size: int = 1, image_size: int | tuple[int, int] | None = None) -> State:
        """What the model remembers before the first step.

        Args:
            batch_size: Number of samples.
            image_size: Side of the frames, or height and width; None for that of the model.

        Returns:
            The state, in the model's precision and on its device.

        Raises:
            ValueError: A number is not a whole one of 1 or more, or the strides do not divide the size.
        """
        check_whole(batch_size=batch_size)
        size = image_size or self.image_size
        size = (size, size) if isinstance(size, int) else size
        check_sizes(image_size=size)
        weights = next(self.answering.parameters())
        frame = torch.zeros(batch_size, self.in_channels, *size, dtype=weights.dtype, device=weights.device)
        named = self.answering.initial(frame)
        self.names, state = tuple(named), tuple(named.values())
        if not any(_fits(state, rest) for rest in self._at_rest):
            self._at_rest.append(tuple(kept[:1].clone() for kept in state))
        return state

    def reset(self, state: Sequence[Tensor], samples: Tensor | Sequence[int]) -> State:
        """Begins some samples anew, such as those whose recording has ended.

        Args:
            state: A state.
            samples: Which, as a boolean `[B]` or as numbers from 0.

        Returns:
            A state in which those samples remember nothing; that of the others is unchanged.

        Raises:
            ValueError: There is no such sample.
        """
        at_rest = self._rest_of(state)
        batch = len(state[0])
        which = torch.as_tensor(samples, device=state[0].device)
        if which.dtype == torch.bool:
            if which.shape != (batch,):
                raise ValueError(f"samples of shape {list(which.shape)} do not mark {batch} samples: give [{batch}]")
        else:
            if which.numel() and not 0 <= int(which.min()) <= int(which.max()) < batch:
                raise ValueError(f"samples {which.tolist()} are not all in 0 to {batch - 1}, the state's")
            which = torch.zeros(batch, dtype=torch.bool, device=which.device).index_fill(
                0, which.flatten().long(), True
            )
        return tuple(
            torch.where(by_sample(which, kept), rest.to(kept.device), kept)
            for rest, kept in zip(at_rest, state, strict=True)
        )

    def mean(self, state: Sequence[Tensor]) -> Tensor:
        """The mean of a sample's logits since it began, `[B, K]`; NaN before its first step."""
        total, steps, *_ = state
        return total / steps

    def _check(self, frame: Tensor, state: Sequence[Tensor]) -> None:
        """Raises ValueError for a frame or state that do not go together."""
        if frame.ndim != 4:
            raise ValueError(
                f"a frame of shape {list(frame.shape)} is not [B, C, H, W]: a step takes one frame of each sample"
            )
        self._rest_of(state)
        if len(frame) != len(state[0]):
            raise ValueError(
                f"the frame has {len(frame)} samples and the state {len(state[0])}: begin with "
                f"step.initial({len(frame)})"
            )

    def _rest_of(self, state: Sequence[Tensor]) -> State:
        """A sample's initial state, of this size. Raises ValueError if none was made."""
        for rest in self._at_rest:
            if _fits(state, rest):
                return rest
        raise ValueError(
            f"the state, of {len(state)} tensors, is not one of this model's: begin with step.initial(batch_size)"
        )


class Answering(nn.Module):
    """A model's step with its mean: `[B, C, H, W], *state -> [B, K] logits, [B, K] their mean, *state`.

    The first two of the state are the sum of the logits and the number of steps, `[B, 1]`; the rest is the parts'.
    """

    def __init__(self, model: SpikingTransformer):
        super().__init__()
        self.stepping = Stepping(_Steps(model))

    def forward(self, frame: Tensor, total: Tensor, steps: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        logits, *after = self.stepping(frame, *state)
        total, steps = total + logits, steps + 1
        return logits, total / steps, total, steps, *after

    def initial(self, frame: Tensor) -> dict[str, Tensor]:
        """The state before a first frame like this, by name."""
        named = self.stepping.initial(frame)
        logits = self.stepping(frame, *named.values())[0]
        total = torch.zeros_like(logits, dtype=torch.promote_types(logits.dtype, torch.float32))
        named = {name.removeprefix("model."): kept for name, kept in named.items()}
        return {"logits.sum": total, "logits.count": total.new_zeros(len(total), 1), **named}


class _Steps(nn.Module):
    def __init__(self, model: SpikingTransformer):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.forward_steps(x)


def _fits(state: Sequence[Tensor], rest: State) -> bool:
    """Whether a state has the shapes of one sample's, for as many samples in each tensor."""
    return len(state) == len(rest) and all(
        kept.shape == (len(state[0]), *one.shape[1:]) for kept, one in zip(state, rest, strict=True)
    )


@torch.no_grad()
def _check_own_parts(model: SpikingTransformer) -> None:
    """Raises ValueError for a part that is not ours, and answers otherwise one step at a time."""
    own = dict(_own_parts("", model))
    if not own:
        return
    steps, samples = 3, 2  # to tell the axes apart
    shapes: dict[str, torch.Size] = {}
    hooks = []
    for name, part in own.items():

        def note(_part: nn.Module, inputs: tuple, name: str = name) -> None:
            if inputs and isinstance(inputs[0], Tensor) and inputs[0].shape[:2] == (steps, samples):
                shapes.setdefault(name, inputs[0].shape)

        hooks.append(part.register_forward_pre_hook(note))
    weights = next(model.parameters())
    size = (model.in_channels, model.image_size, model.image_size)
    training = [module for module in model.modules() if module.training]
    try:
        model.eval().forward_steps(torch.zeros(steps, samples, *size, dtype=weights.dtype, device=weights.device))
    finally:
        for module in training:
            module.training = True
        for hook in hooks:
            hook.remove()
    done: set[str] = set()
    for name, shape in shapes.items():
        part = own[name]
        if (kind := f"{type(part)} {part} {shape}") not in done:
            done.add(kind)
            noise = probe(list(shape), of_current=hasattr(part, "levels") or name == "stem")
            check_steps(name, part, noise.to(weights))


def _own_parts(name: str, part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that are not ours, those inside first; a part with a step of its own only as a whole."""
    if step_of(part) and declared(part, "mixes") == "forward":
        if any(map(is_foreign, part.modules())):
            yield name, part
        return
    for child, inside in part.named_children():
        yield from _own_parts(f"{name}.{child}".lstrip("."), inside)
    if is_foreign(part):
        yield name, part
