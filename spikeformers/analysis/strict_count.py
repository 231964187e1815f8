"""The count of the convention `strict`: all that a digital neuromorphic core would do."""

from spikeformers.analysis.counted_layer import Layer


def strict_count(layer: Layer) -> tuple[float, float]:
    """Accumulates and multiply-accumulates of one layer."""
    if layer.op == "neuron":
        resets = layer.left.nonzeros if layer.resets else 0
        times = layer.multiplications
        return (resets, times * layer.hits) if times else (resets + layer.hits, 0)
    if layer.op in ("add", "bias", "sum", "scan", "pool", "compare", "select"):
        return layer.hits, 0
    if layer.op in ("division", "function", "unknown"):
        return 0, layer.hits
    events = [
        events
        for side, events in ((layer.left, layer.left_events), (layer.right, layer.right_events))
        if side is not None and side.kind != "real"
    ]
    return (min(events), 0) if events else (0, layer.hits)
