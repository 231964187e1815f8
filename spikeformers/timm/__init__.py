"""Registers every classifier in timm: `import spikeformers.timm`, then `timm.create_model("qkformer_10_384")`.

timm's arguments work as usual: `num_classes` (0 for features), `in_chans`, `img_size`, `drop_path_rate`,
`features_only` with `out_indices`, `checkpoint_path`. So do ours: `time_steps`, `neuron`, `attention`, ... An argument
without effect is refused. The model is a `SpikingTransformer` with timm's methods.

`features_only=True` returns maps `[B, C, H, W]`, averaged over time, from the end of every stage, or of every block in
a flat trunk; `feature_cls=spikeformers.timm.FeatureSteps` returns them at every step, `[T, B, C, H, W]`.

No weights are hosted. `checkpoint_path=FILE` reads our files and those that the papers' authors released;
`pretrained=True, pretrained_cfg_overlay=dict(file=PATH)` is `load_checkpoint`, which also takes a run folder, and files
for other classes or channels.
"""

from spikeformers.models import describe_model, list_models
from spikeformers.timm.features import FeatureMaps, FeatureSteps
from spikeformers.timm.network import TimmSpikingTransformer
from spikeformers.timm.spiking_transformer import register

__all__ = ["FeatureMaps", "FeatureSteps", "TimmSpikingTransformer", "register"]

for _name in list_models():
    _about = describe_model(_name)
    # Masked autoencoders are not classifiers; a family of somebody's own may not say what it takes.
    if _about["num_classes"] and _about["in_channels"] and _about["image_size"]:
        register(_name)
