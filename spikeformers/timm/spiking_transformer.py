"""Our models in timm's registry, as the module `spiking_transformer`."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model, resolve_pretrained_cfg
from torch import Tensor, nn

from spikeformers.checkpoints.keys import translate
from spikeformers.data.known import FOLDER, SETS, KnownImages
from spikeformers.models.building import build
from spikeformers.models.registry import find_family
from spikeformers.timm.features import FeatureMaps
from spikeformers.timm.network import TimmSpikingTransformer

__all__ = ["register"]  # timm adds every registered name

default_cfgs: dict[str, Any] = {}  # timm reads it at registration

_IMAGES = {  # by what published results call the set
    "ImageNet-1k": FOLDER,
    **{one.published: one.traits for one in SETS.values() if isinstance(one, KnownImages) and one.published},
}
_TIMM_NAMES = {"in_channels": "in_chans", "drop_path": "drop_path_rate", "image_size": "img_size"}
_OUR_NAMES = {theirs: ours for ours, theirs in _TIMM_NAMES.items()}
_ONLY = {  # timm's arguments without effect here, with their neutral values
    "drop_rate": 0, "pos_drop_rate": 0, "patch_drop_rate": 0, "proj_drop_rate": 0, "attn_drop_rate": 0,
    "drop_block_rate": 0, "global_pool": "avg", "pruned": False,
}  # fmt: skip


def register(name: str) -> None:
    """Registers a spikeformers model in timm.

    Args:
        name: A size from `list_models`.
    """

    def entry_point(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return _create(name, pretrained, **kwargs)

    entry_point.__name__ = entry_point.__qualname__ = name
    entry_point.__doc__ = f"{name} of spikeformers, with timm's arguments and ours."
    default_cfgs.update(generate_default_cfgs({name: _default_cfg(name)}))
    globals()[name] = register_model(entry_point)


def _create(
    name: str,
    pretrained: bool,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Mapping[str, Any] | None = None,
    features_only: bool = False,
    feature_cls: Any = None,
    out_indices: Any = None,
    cache_dir: Any = None,
    pretrained_model_args: Any = None,
    **kwargs: Any,
) -> nn.Module:
    arguments = _arguments(name, kwargs)
    overlay = {"custom_load": True, **(pretrained_cfg_overlay or {})}  # our load_checkpoint reads the file
    source = resolve_pretrained_cfg(name, pretrained_cfg, overlay)
    if pretrained and not (source.has_weights or source.state_dict):
        raise ValueError(
            f"{name} has no weights to download: give checkpoint_path=FILE instead of pretrained=True, or add "
            "pretrained_cfg_overlay=dict(file=FILE)"
        )
    if features_only:
        if feature_cls is not None and not (inspect.isclass(feature_cls) and issubclass(feature_cls, FeatureMaps)):
            raise ValueError(
                f"feature_cls {feature_cls!r} has no time axis: use spikeformers.timm.FeatureMaps or FeatureSteps"
            )
    elif feature_cls is not None or out_indices is not None:
        raise ValueError(f"out_indices {out_indices} and feature_cls {feature_cls} are for features_only=True: add it")
    return build_model_with_cfg(
        functools.partial(_build, name),
        name,
        pretrained,
        pretrained_cfg=pretrained_cfg,
        pretrained_cfg_overlay=overlay,
        pretrained_filter_fn=_translated,
        pretrained_model_args=pretrained_model_args,
        cache_dir=cache_dir,
        feature_cfg=dict(feature_cls=feature_cls or FeatureMaps, out_indices=out_indices),
        features_only=features_only,
        **arguments,
    )


def _arguments(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments under timm's names, without None, timm's default. Raises ValueError for those without effect."""
    arguments: dict[str, Any] = {}
    for key, value in given.items():
        if value is None:
            continue
        if key in _ONLY:
            if value != _ONLY[key]:
                raise ValueError(f"{name} takes no {key} but {_ONLY[key]!r}, and {value!r} was given: leave it out")
            continue
        key = _TIMM_NAMES.get(key, key)
        if key == "img_size" and isinstance(value, tuple | list):
            if len(set(value)) != 1:
                raise ValueError(f"img_size {tuple(value)} is not square: give one side, calls take other shapes too")
            value = value[0]
        if arguments.setdefault(key, value) != value:
            raise ValueError(f"{key} and {_OUR_NAMES[key]} are one argument, and two values were given: leave one out")
    return arguments


def _build(name: str, **arguments: Any) -> TimmSpikingTransformer:
    ours = {_OUR_NAMES.get(key, key): value for key, value in arguments.items()}
    return TimmSpikingTransformer(build(name, ours))


def _translated(weights: Mapping[str, Tensor], model: TimmSpikingTransformer) -> dict[str, Tensor]:
    return translate(weights, find_family(model.config["name"]), model.config, model.state_dict())


def _default_cfg(name: str) -> dict[str, Any]:
    family = find_family(name)
    defaults = {key: p.default for key, p in inspect.signature(family.builder).parameters.items()}
    arguments = {**defaults, **family.sizes[name]}
    channels, size = arguments["in_channels"], arguments["image_size"]
    published = family.published.get(name)
    images = _IMAGES.get(published.data.split(",")[0]) if published else None
    mean, std = (
        (images.mean, images.std) if images else ((0.0,) * channels, (1.0,) * channels)
    )  # events are not normalised
    first_conv, classifier = _ends(name, str((family.builder, arguments.get("stem"), arguments.get("head"))))
    return dict(
        input_size=(channels, size, size),
        num_classes=arguments["num_classes"],
        mean=mean,
        std=std,
        interpolation="bicubic",
        crop_pct=1.0,
        first_conv=first_conv,
        classifier=classifier,
        license="apache-2.0",
        paper_ids=published.paper if published else None,
    )


_ENDS: dict[
    str, tuple[str, str | tuple[str, ...]]
] = {}  # by family, stem and head, since building every size takes seconds


def _ends(name: str, parts: str) -> tuple[str, str | tuple[str, ...]]:
    """The names of a model's first convolution and of its linear layers, from a model without storage."""
    if parts not in _ENDS:
        with torch.device("meta"):
            model = build(name, {})
        convs = (key for key, layer in model.named_modules() if isinstance(layer, nn.Conv2d))
        layers = [f"head.{key}" for key in model.head.classifiers]
        _ENDS[parts] = next(convs), tuple(layers) if len(layers) > 1 else layers[0]
    return _ENDS[parts]
