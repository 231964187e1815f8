"""Every classifier of ours by name in timm: `import spikeformers.timm`, then `timm.create_model("qkformer_10_384")`.

timm's arguments mean what they mean there: `num_classes` (0 for features), `in_chans`, `img_size`, `drop_path_rate`,
`features_only` with `out_indices`, `checkpoint_path`. Ours go along with them: `time_steps`, `neuron`, `attention`, ...
One that would change nothing is refused. What comes back is a `SpikingTransformer` with timm's methods.

`features_only=True` gives maps `[B, C, H, W]`, averaged over time, from the end of every stage, or, of a trunk that
keeps its shape, of every block; `feature_cls=spikeformers.timm.FeatureSteps` gives them at every step,
`[T, B, C, H, W]`.

There are no weights to download. `checkpoint_path=FILE` reads ours and those that the papers' authors released;
`pretrained=True, pretrained_cfg_overlay=dict(file=PATH)` is `load_checkpoint`: it also takes a run folder, and a file
for other classes or channels.
"""

from spikeformers.models import describe_model, list_models
from spikeformers.timm.features import FeatureMaps, FeatureSteps
from spikeformers.timm.network import TimmSpikingTransformer
from spikeformers.timm.spiking_transformer import register

__all__ = ["FeatureMaps", "FeatureSteps", "TimmSpikingTransformer", "register"]

for _name in list_models():
    if describe_model(_name)["num_classes"]:  # a masked autoencoder is no classifier
        register(_name)
