"""The normalized integer neuron of Spike2Former."""

from spikeformers.neurons.half_even import IntegerHalfEven


class NILIF(IntegerHalfEven):
    """Rounds current to a share of `max_count` spikes, without a membrane: `[T, ...] current -> [T, ...] in 0..1`.

        round(clamp(x / v_threshold, 0, max_count)) / max_count         ties to even

    `IntegerHalfEven` under the name that Spike2Former gives it, Lei et al., AAAI 2025, arXiv:2412.14587, which trained
    without a membrane. For the version with one use `ILIF(unit=1 / max_count)`. Released code: equal, Spike2Former's.
    Errors are those of `Integer`.
    """
