"""Counting a model's operations from outside: hooks track the current module, a dispatch mode sees every operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spikeformers.analysis.aten_counts import COUNTED, learns
from spikeformers.analysis.aten_parts import decomposed, is_composite, is_view, rewrite
from spikeformers.analysis.chains import chains_of, count_chain
from spikeformers.analysis.counted_layer import Layer
from spikeformers.analysis.elementwise_counts import MOVES, SHAPE_ONLY, count_unknown
from spikeformers.analysis.neuron_activity import NeuronActivity, has_membrane, is_neuron, multiplications_of, steps_of
from spikeformers.analysis.operands import Operand
from spikeformers.analysis.operations import Operations, Place
from spikeformers.analysis.origins import Origin, moved
from spikeformers.layers.contracts import declared


class Counter(Operations, TorchDispatchMode):
    """Counts every operation of a model inside a `with counter.batch(samples)` block.

    Counting does not change the model's outputs. Compiled modules run uncompiled, in the model's own precision. A part
    that folds into a single convolution at inference (`RepConv`) counts as that convolution. A neuron counts as its
    update only.
    """

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.model = model
        self.activity: dict[str, NeuronActivity] = {}
        self.samples = 0
        self._chains = chains_of(model)
        self._apart: list[str] = []  # composite operations being counted by their parts
        self._depth = 0  # above 0 inside a module in which nothing is counted

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and PyTorch's check costs more time than the counting

    @contextmanager
    def batch(self, samples: int, steps: int | None = None, repeated: bool = True) -> Iterator[None]:
        """Counts one call of the model with this number of samples.

        `steps` are those of the input, None where only the model knows; `repeated` says whether they are all the same.
        """
        self.samples += samples
        self.steps = steps
        self.begin(samples, repeated)
        for activity in self.activity.values():
            activity.begin()
        with ExitStack() as on:
            for name, module in self.model.named_modules():
                on.callback(module.register_forward_pre_hook(self._enter(name), with_kwargs=True).remove)
                on.callback(module.register_forward_hook(self._leave, with_kwargs=True, always_call=True).remove)
            if any(m._compiled_call_impl is not None for m in self.model.modules()):
                on.enter_context(torch.compiler.set_stance("force_eager"))
            on.enter_context(torch.autocast(_device(self.model), enabled=False))
            on.enter_context(_no_fast_path())
            on.enter_context(torch.inference_mode(False))  # inference mode does not decompose some operations
            on.enter_context(torch.no_grad())
            on.enter_context(self)
            yield
        self.settle_factors()
        self._name_classifier()
        self.begin(0)  # frees the last batch's tensors

    def _enter(self, name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def enter(
            module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            if not self.stack:
                self._arrive((inputs, named))
            if inputs and isinstance(x := inputs[0], Tensor) and x.ndim == 5 and x.shape[0] > 1 and x.stride(0) == 0:
                inputs = (x.contiguous(), *inputs[1:])  # an image repeated at all steps: compute every step
            x = _first_tensor((inputs, named))
            self.stack.append(Place(name, module, () if x is None else x.shape))
            if self._depth:
                self._depth += 1
            elif is_neuron(module) or self._is_chain(module, x):
                self._depth = 1
                self.__exit__(None, None, None)  # operations inside are not counted, and run at full speed
            return inputs, named

        return enter

    def _is_chain(self, module: nn.Module, x: Tensor | None) -> bool:
        """Whether a part counts as one convolution on this input."""
        conv = self._chains.get(module)
        return conv is not None and x is not None and x.ndim > 2 and x.shape[-3] == conv.in_channels

    def _leave(self, module: nn.Module, inputs: Any, named: Any, output: Any) -> None:
        if self._depth:
            self._depth -= 1
            if not self._depth:
                try:
                    self._count_opaque(module, (inputs, named), output)
                finally:
                    self.__enter__()  # `batch` ends what is on, whatever happened
        self.stack.pop()

    def _count_opaque(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Counts a part whose inside was not counted."""
        if not is_neuron(module):
            x = _first_tensor(inputs)
            self.once = all(one.once for one in self.origins.among(inputs))
            if x is not None and isinstance(output, Tensor):  # None if it raised an error
                self.origins.set(output, count_chain(self, x, output, self._chains[module]))
            return
        for origin in self.origins.among(inputs):
            origin.absorbs()
        self._arrive(output)
        spikes = output[0] if isinstance(output, tuple) and output else output  # then states, in snnTorch and Norse
        if isinstance(spikes, Tensor):
            *outer, own = self.stack
            self._count_neuron(own.name, module, spikes)
            if outer:
                last = own.name.rpartition(".")[2]
                outer[-1].sources[spikes.untyped_storage().data_ptr()] = last.removesuffix("_neuron")

    def _arrive(self, tree: Any) -> None:
        """Registers tensors that no counted operation made: the model's input and neuron outputs."""
        for x in tree_leaves(tree):
            if isinstance(x, Tensor):
                self.origins.set(x, Origin(x.numel()))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        if is_composite(func):  # without gradients, PyTorch dispatches it undecomposed
            with self:
                return func.decompose(*args, **kwargs)
        if is_view(func):
            output = func(*args, **kwargs)
            if name == "lift_fresh":  # a new constant
                self.origins.set(output, None)
            return output
        if func._schema.is_mutable and name.endswith("_"):  # count before it overwrites its input
            origin = self._count(func, name.removesuffix("_"), args[0], args, kwargs)
            output = func(*args, **kwargs)
        else:
            output = func(*args, **kwargs)
            origin = self._count(func, name, output, args, kwargs)
        if origin is not None:
            origin.once |= self.once
        self.origins.set(output, origin)
        return output

    def _count(self, func: Any, name: str, y: Any, args: Any, kwargs: Any) -> Origin | None:
        """Counts an operation and returns the origin of its result. Constants are computed once, and cost nothing."""
        read, random = self.origins.among((args, kwargs)), torch.Tag.nondeterministic_seeded in func.tags
        if not (read or random) or name in SHAPE_ONLY:
            return None
        self.once = all(one.once for one in read)
        outputs = [x for x in tree_leaves(y) if isinstance(x, Tensor)]
        elements = sum(x.numel() for x in outputs)
        chooses = self.stack and declared(self.stack[-1].module, "chooses") and name != "roi_align"
        if not self.stack or name in MOVES or chooses:
            return moved(*read, elements=elements)
        origin, count = None, COUNTED.get(name)
        if any(x.layout != torch.strided for x in outputs):  # sparse tensors are not tracked
            count_unknown(self, y, args, kwargs, label=[*self._apart, name][0])
            return None
        if run := rewrite(func, name, self, args, kwargs):
            return self._take_apart(name, run)[1]
        if count is not None and not learns(name, args):
            origin = count(self, y, args, kwargs)
        elif any(x.is_floating_point() or x.is_complex() for x in outputs):
            run = None if random else decomposed(func, name)
            done, origin = self._take_apart(name, lambda: run(*args, **kwargs)) if run else (False, None)
            if done:
                return origin
            count_unknown(self, y, args, kwargs, label=[*self._apart, name][0])
        if origin is None:
            for one in read:
                one.is_read()
        return origin or Origin(elements)

    def _take_apart(self, name: str, run: Callable[[], Any]) -> tuple[bool, Origin | None]:
        """Counts the parts of an operation while they run. Returns whether it has any, and their result's origin."""
        if name in self._apart:
            return False, None
        self._apart.append(name)
        try:
            with self:
                result = run()
        finally:
            self._apart.pop()
        found = self.origins.among(result)
        return result is not NotImplemented, found[0] if found else None

    def _count_neuron(self, name: str, neuron: nn.Module, spikes: Tensor) -> None:
        self.fired = True
        activity = self.activity.get(name)
        if activity is None:
            sub_steps = getattr(neuron, "sub_steps", None)  # of an unrolled one
            activity = self.activity[name] = NeuronActivity(name, type(neuron).__name__, sub_steps=sub_steps)
        update = Layer(
            f"{name}.update",
            "neuron",
            multiplications=multiplications_of(neuron),
            resets=getattr(neuron, "resets", True),
            membrane=has_membrane(neuron),
            levels=max(len(getattr(neuron, "levels", ())), 2),
        )
        layer = self.layers.setdefault(update.name, update)
        on_regions = any(declared(place.module, "on_regions") for place in self.stack)
        samples = spikes.shape[1] if on_regions else self.in_batch
        fired = activity.add(spikes, steps_of(neuron, spikes), samples, self.steps)
        layer.left.add(Operand(spikes.numel(), fired, fired, most=int(fired > 0)))
        layer.macs += spikes.numel()
        layer.dense += spikes.numel()
        layer.hits += spikes.numel()

    def _name_classifier(self) -> None:
        head = getattr(self.model, "head", None)
        names = getattr(head, "classifiers", None)
        last = {f"head.{name}" for name in names} if names else {self.last_product}
        for layer in self.layers.values():
            if layer.name in last and not layer.role:
                layer.role = "classifier"


def _first_tensor(tree: Any) -> Tensor | None:
    return next((x for x in tree_leaves(tree) if isinstance(x, Tensor)), None)


def _device(model: nn.Module) -> str:
    return next((p.device.type for p in model.parameters()), "cpu")


@contextmanager
def _no_fast_path() -> Iterator[None]:
    """Makes PyTorch's own transformer layers run operation by operation."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
