"""A recipe: every setting of a training run, with its type, its default and what it means."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from spikeformers.data.settings import Data
from spikeformers.models.parts import describe_part, slot_of
from spikeformers.training.limits import check_settings


@dataclass
class Augment:
    """What happens to training images and clips; the defaults do nothing."""

    hflip: float = 0.0  # probability; of a clip all frames are flipped
    # Clips only: the changes one of which is drawn for each, the same for all its frames, with their largest strengths:
    # identity 0, roll, translate_x and translate_y in pixels, rotate in degrees, shear_x and shear_y in radians, cutout
    # in shares of the area (a random square), cutout_side in shares of the sides (of just that size).
    clip_ops: dict[str, float] = field(default_factory=dict)
    clip_ops_drawn: int = 1  # how many different ones are drawn
    # Images only, up to mixup:
    crop_scale: tuple[float, float] = (1.0, 1.0)  # area of a random crop; (1, 1) crops nothing
    crop_ratio: tuple[float, float] = (1.0, 1.0)  # its width over height
    rand_augment: str | None = None  # timm's notation, as rand-m9-n1-mstd0.4-inc1
    rand_augment_ops: list[str] = field(default_factory=list)  # only these operations; empty is timm's whole list
    erase: float = 0.0  # probability of random erasing
    erase_mode: Literal["const", "rand", "pixel"] = "const"
    mixup: float = 0.0  # alpha of the beta distribution; 0 is off; two clips are mixed frame by frame
    cutmix: float = 0.0  # the same box in all frames
    mix_prob: float = 1.0  # of mixing a batch at all
    mix_switch_prob: float = 0.5  # of cutmix, where both are on
    mix_off_epoch: int | None = None  # after so many epochs nothing is mixed
    repeats: int = 1  # an epoch shows an image so often, augmented anew, and so many times fewer images

    def changed(self) -> set[str]:
        """The fields that are not at their defaults."""
        mine, plain = (json.loads(json.dumps(dataclasses.asdict(one))) for one in (self, Augment()))  # lists, no tuples
        return {name for name in plain if mine[name] != plain[name]}


@dataclass
class Loss:
    """What logits are held against labels by; targets are smoothed by `label_smoothing`, and mixed with the images."""

    name: Literal["mean", "tet"] = "mean"  # cross-entropy of the mean over steps, or the mean of every step's (TET)
    tet_target: float = 1.0  # TET also draws every logit to this number,
    tet_weight: float = 0.0  # with this share of the loss
    firing_rate: float = 0.0  # every neuron's rate is drawn to this number,
    firing_weight: float = 0.0  # by this factor of the squared distance; 0 leaves rates alone


@dataclass
class Distill:
    """A teacher that is learnt from beside the labels, by a second head where the model has one. None by default."""

    teacher: str | None = None  # a model of timm's with its weights, or a checkpoint of ours
    name: Literal["hard", "soft"] = "hard"  # its likeliest class, or its probabilities
    weight: float = 0.5  # of the teacher; the labels have the rest
    temperature: float = 1.0  # softens the probabilities


@dataclass
class Optimizer:
    """One of timm's optimizers."""

    name: str = "adamw"
    lr: float = 1e-3
    lr_batch: int | None = None  # `lr` is for an update of so many images, and in proportion to it; null: as it is
    weight_decay: float = 0.05
    decay_all: bool = False  # also biases, norms and other one-dimensional weights, which otherwise do not decay
    layer_decay: float | None = None  # the rate of each layer is so much of that of the next one
    args: dict[str, Any] = field(default_factory=dict)  # its own, as betas or eps


@dataclass
class Schedule:
    """One of timm's schedules. Warm-up is part of `epochs`, the cool-down at `min_lr` comes on top."""

    name: str = "cosine"
    warmup_epochs: int = 0
    warmup_lr: float = 1e-5
    min_lr: float = 1e-5
    cooldown_epochs: int = 0
    per_update: bool = False  # step after each update rather than each epoch
    decay_rate: float = 0.1  # factor of step and multistep, power of poly
    after_warmup: bool = False  # the curve begins where the warm-up ends, rather than lies under it


@dataclass
class Recipe:
    """All settings of a run. `model` is what `create_model` takes, `trainer` what Lightning's Trainer takes."""

    model: dict[str, Any] = field(default_factory=dict)
    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)
    loss: Loss = field(default_factory=Loss)
    distill: Distill = field(default_factory=Distill)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    start_from: str | None = None  # a checkpoint whose weights are the first
    start_needed: str | None = None  # says which; without it the recipe is refused
    epochs: int = 10
    batch_size: int = 128  # a device and step
    accumulate: int = 1  # steps an update
    label_smoothing: float = 0.0
    clip_grad_norm: float | None = None
    ema_decay: float | None = None  # average the weights, and evaluate with the average
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    memory: Literal["plain", "lean"] = "plain"  # lean runs blocks again in backward, rather than keep what they hold
    profile_every: int = 500  # steps between counts of operations and energy in TensorBoard; 0 is never
    compile: bool = False  # by torch.compile, at the first steps
    sync_norm: bool = False  # norms take the statistics of all processes' batches, not each of its own
    save_minutes: float = 10.0  # a checkpoint within an epoch too, so that no more than that is ever lost
    keep: int = 2  # checkpoints kept besides the best and the last
    stop_if_unsaved: bool = True  # where a checkpoint cannot be written, as on a full disk; else said and counted
    oversubscribe: bool = False  # more processes than there are processor cores, which may bring a machine down
    seed: int = 0
    trainer: dict[str, Any] = field(default_factory=dict)  # devices, num_nodes, strategy, ...
    out: str = "runs"  # where run folders go
    run: str | None = None  # folder in `out`; null is the recipe's name

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raises ValueError, in one line, for fields that cannot be so, or not together."""
        check_settings(self)
        if "name" not in self.model:
            raise ValueError("model.name is missing: name a model, as in --model spikformer_4_384_cifar10")
        if not isinstance(name := self.model["name"], str):
            raise ValueError(f"model.name is {'null' if name is None else name}, where the name of a model belongs")
        if self.sync_norm and self.compile:
            raise ValueError("sync_norm and compile do not go together: norms that wait for others are not compiled")
        mixing = self.augment.mixup > 0 or self.augment.cutmix > 0
        if mixing and self.batch_size % 2:
            raise ValueError(f"batch_size {self.batch_size} is odd, and mixup pairs images: use an even one")
        if self.loss.firing_weight and self.compile:
            raise ValueError("loss.firing_weight reads every neuron, which compiled models do not show: leave one out")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON types, for `read_recipe` to read again."""
        model = {key: named_part(key, value) for key, value in self.model.items()}
        return json.loads(json.dumps(dataclasses.asdict(dataclasses.replace(self, model=model))))


def named_part(argument: str, value: Any) -> Any:
    """A model's argument as a settings file writes it: a part by its name on disk, anything else as it is."""
    if (slot := slot_of(argument)) and isinstance(value, dict):
        return {key: named_part(slot if key == "part" else key, inner) for key, inner in value.items()}
    return describe_part(slot, value) if slot and callable(value) else value
