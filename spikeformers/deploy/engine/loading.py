"""An engine from a file."""

import json
import logging
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from spikeformers.deploy.engine.engine import SpikeEngine
from spikeformers.deploy.engine.graph import Node, decode
from spikeformers.deploy.engine.plan import SPARSE
from spikeformers.ops.spike_product import Neuron, kernels
from spikeformers.ops.spike_product.build import processor

logger = logging.getLogger("spikeformers")


def load_engine(path: str | Path) -> SpikeEngine:
    """Reads what `SpikeEngine.save` wrote.

    A log line says where its plan does not fit: without kernels here no product runs sparse; on another processor, or
    planned without kernels, all that have one do. Raises ValueError for any other file.
    """
    try:
        with safe_open(path, "pt") as file:
            program = json.loads((file.metadata() or {})["engine"])
            constants = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        nodes = [
            Node(name, op, tuple(decode(args)), decode(kwargs), tuple(shape))
            for name, op, args, kwargs, shape in program["nodes"]
        ]
        neurons = [Neuron(**neuron) for neuron in program["neurons"]]
        dtype = {"float32": torch.float32, "int8": torch.int8}[program["dtype"]]
        ends = tuple(program["ends"])
        engine = SpikeEngine(nodes, constants, neurons, ends, program["shape"], dtype, program["foreign"])
        engine.images_at_once = max(1, int(program["images_at_once"]))
        elsewhere, planned = program["processor"] != processor(), dict(program["ways"])
        for step in () if elsewhere else engine.steps:
            way, step.density = planned.get(step.writes[0], (step.way, None))
            step.way = way if way in step.ways else step.way
        sparse = sum(way == SPARSE for way, _ in planned.values())
    except FileNotFoundError:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, OSError, json.JSONDecodeError, SafetensorError) as error:
        raise ValueError(f"{path} is not an engine's file: make one with spike_engine(...).save") from error
    except ValueError as error:
        raise ValueError(f"{path} is not an engine's file ({error}): make one with spike_engine(...).save") from error
    if planned and kernels() is None:
        logger.warning(
            "%s was planned with the spike kernels, and there are none here: torch computes all of it, and %d products "
            "no longer skip zeros",
            path,
            sparse,
        )
    elif not planned and any(len(step.ways) > 1 for step in engine.steps):
        logger.warning("%s was planned without the spike kernels: call its tune(batches) to plan it with them", path)
    elif elsewhere:
        logger.warning("%s was planned on another processor: call its tune(batches) to plan it on this one", path)
    return engine.eval()
