"""Models for `features_only=True`: a network without head that returns the maps of its stages."""

from collections.abc import Mapping
from typing import Any

from timm.models._features import FeatureGetterNet
from torch import Tensor

from spikeformers.timm.network import TimmSpikingTransformer


class FeatureMaps(FeatureGetterNet):
    """Maps averaged over time: images `[B, C, H, W]` or sequences `[T, B, C, H, W] -> [[B, D, h, w], ...]`."""

    model: TimmSpikingTransformer
    out_indices: Any

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in torch, also for keys of the whole network, ours or released."""
        weights = {key.removeprefix("model."): value for key, value in state_dict.items()}
        return self.model.load_state_dict(weights, strict, assign)


class FeatureSteps(FeatureMaps):
    """Maps at every step: images `[B, C, H, W]` or sequences `[T, B, C, H, W] -> [[T, B, D, h, w], ...]`."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.model.forward_stages(x, self.out_indices)
