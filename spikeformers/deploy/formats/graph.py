"""A model, or one step of it, traced for any batch size: what each format is written from."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spikeformers.deploy.stream import Stream
from spikeformers.models import SpikingTransformer


class Graph(NamedTuple):
    """A traced program, with the names of its inputs and outputs."""

    program: torch.export.ExportedProgram
    example: tuple[Tensor, ...]  # inputs, of two samples
    axis: int  # of the batch
    inputs: list[str]
    outputs: list[str]
    form: str

    @property
    def name(self) -> str:
        """The file's, without its ending."""
        return "model" if self.form == "whole" else self.form

    def alone(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """A module and the inputs of one sample, for formats whose batch is fixed."""
        return self.program.module(), tuple(x.narrow(self.axis, 0, 1).contiguous() for x in self.example)


def whole_graph(model: SpikingTransformer, inputs: Tensor) -> Graph:
    """All steps of a model, for inputs like these."""
    axis = 1 if inputs.ndim == 5 else 0
    example = inputs.narrow(axis, 0, 1).repeat_interleave(2, axis)  # a batch of one would be taken for a constant
    with torch.no_grad():
        outputs = [*model.forward_outputs(example)]
        program = torch.export.export(_Outputs(model), (example,), dynamic_shapes=({axis: _batch_axis()},))
    return Graph(program, (example,), axis, ["x"], outputs, "whole")


def step_graph(step: Stream, inputs: Tensor, form: str) -> Graph:
    """One step of a model, for frames like these; `form` is what the file will be: step, or scan."""
    height, width = inputs.shape[-2:]
    frame, state, batch = torch.zeros(2, *inputs.shape[-3:]), step.initial(2, (height, width)), _batch_axis()
    of_parts = [tuple({0: batch} for _ in state[2:])] if state[2:] else []  # of `*state`
    shapes = ({0: batch}, {0: batch}, {0: batch}, *of_parts)
    with torch.no_grad():
        program = torch.export.export(step.answering, (frame, *state), dynamic_shapes=shapes)
    outputs = ["logits", "logits.mean", *(f"{name}.next" for name in step.names)]
    return Graph(program, (frame, *state), 0, ["x", *step.names], outputs, form)


class _Outputs(nn.Module):
    """A model whose outputs are those of `forward_outputs`, in order; of one, without a tuple."""

    def __init__(self, model: SpikingTransformer):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        first, *others = self.model.forward_outputs(x).values()
        return (first, *others) if others else first


def _batch_axis() -> Any:
    return torch.export.Dim("batch", min=1, max=65536)
