"""A recipe: every setting of a training run, with its type, default and meaning."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from spikeformers.data.settings import Data
from spikeformers.models.parts import describe_part, slot_of
from spikeformers.training.limits import check_settings


@dataclass
class Augment:
    """Augmentation of training images and clips. The defaults change nothing."""

    hflip: float = 0.0  # probability; all frames of a clip are flipped together
    # Clips only: one operation is drawn for each clip and applied to all its frames. Each has its largest strength:
    # identity 0, roll, translate_x and translate_y in pixels, rotate in degrees, shear_x and shear_y in radians, cutout
    # as a fraction of the area (a square of random size), cutout_side as a fraction of the sides (exactly that size).
    clip_ops: dict[str, float] = field(default_factory=dict)
    clip_ops_drawn: int = 1  # how many different operations are drawn
    # Sets with boxes or masks only. (They also take hflip, and rand_augment without the operations that move pixels.)
    vflip: float = 0.0  # probability
    color_jitter: float = 0.0  # brightness, contrast and saturation times a factor from 1 - this to 1 + this
    scale_jitter: tuple[float, float] = (1.0, 1.0)  # range of factors; 1 is the size that just fits; then it is cropped
    # Images only, up to mixup:
    crop_scale: tuple[float, float] = (1.0, 1.0)  # range of a random crop's area; (1, 1) crops nothing
    crop_ratio: tuple[float, float] = (1.0, 1.0)  # range of its aspect ratio, width over height
    crop_padding: int = 0  # shifts the image by up to this many pixels and fills the gap with black: 4 for CIFAR
    rand_augment: str | None = None  # timm's notation, such as rand-m9-n1-mstd0.4-inc1
    rand_augment_ops: list[str] = field(default_factory=list)  # the only operations used; empty allows all of timm's
    erase: float = 0.0  # probability of random erasing
    erase_mode: Literal["const", "rand", "pixel"] = "const"
    mixup: float = 0.0  # alpha of the beta distribution; 0 is off; clips are mixed frame by frame
    cutmix: float = 0.0  # alpha of the beta distribution; 0 is off; all frames get one box; also for masks
    mix_prob: float = 1.0  # probability of mixing a batch
    mix_switch_prob: float = 0.5  # probability of cutmix rather than mixup if both are on
    mix_off_epoch: int | None = None  # mixing stops after this many epochs
    repeats: int = 1  # augmented copies of each image in an epoch, which then holds 1/repeats of the images

    def changed(self) -> set[str]:
        """The fields that differ from their defaults."""
        mine, plain = (json.loads(json.dumps(dataclasses.asdict(one))) for one in (self, Augment()))  # lists, no tuples
        return {name for name in plain if mine[name] != plain[name]}


@dataclass
class Loss:
    """The loss on labels, which `label_smoothing` smooths and mixup mixes with the images."""

    name: Literal["mean", "tet"] = "mean"  # cross-entropy of the logits' mean over steps, or mean of each step's (TET)
    tet_target: float = 1.0  # TET also pulls every logit towards this value,
    tet_weight: float = 0.0  # with this share of the loss
    firing_rate: float = 0.0  # every neuron's rate is pulled towards this value,
    firing_weight: float = 0.0  # with this weight on the squared distance; 0 is off
    # Masks only: pixels of rare classes weigh more, by the median of the classes' frequencies over their own, to this
    # power. 0 is off, 1 is SegNet's.
    class_balance: float = 0.0


@dataclass
class Distill:
    """Distillation from a teacher, into the model's second head if it has one. Off by default."""

    teacher: str | None = None  # a pretrained timm model, or a checkpoint of this library, by path or by name
    name: Literal["hard", "soft"] = "hard"  # learn the teacher's top class, or its probabilities
    weight: float = 0.5  # of the teacher's loss; the labels' loss has the rest
    temperature: float = 1.0  # softens the probabilities


@dataclass
class Optimizer:
    """An optimizer of timm."""

    name: str = "adamw"
    lr: float = 1e-3
    lr_batch: int | None = None  # images per update at which `lr` holds; scaled linearly for others. null: no scaling
    weight_decay: float = 0.05
    decay_all: bool = False  # decay biases, norms and other one-dimensional weights too
    layer_decay: float | None = None  # factor from each layer's rate to that of the layer before it
    head_factor: float = 1.0  # of the rate of the head; a detector's neck has that of the trunk
    args: dict[str, Any] = field(default_factory=dict)  # further arguments of the optimizer, such as betas or eps


@dataclass
class Schedule:
    """A learning-rate schedule of timm. `epochs` includes the warm-up; the cool-down at `min_lr` comes on top.

    `min_lr` and the cool-down are for cosine, tanh and poly: step and multistep have no least rate.
    """

    name: str = "cosine"
    warmup_epochs: int = 0
    warmup_updates: int = 0  # instead, with per_update
    warmup_lr: float = 1e-5
    min_lr: float = 1e-5
    cooldown_epochs: int = 0
    per_update: bool = False  # change the rate after each update, not only after each epoch
    decay_rate: float = 0.1  # factor of step and multistep, power of poly
    decay_epochs: int = 90  # of step: the epochs from one factor to the next
    milestones: list[int] = field(default_factory=list)  # of multistep: the epochs after which the factor applies
    after_warmup: bool = False  # start the curve after the warm-up; otherwise the warm-up replaces its beginning


@dataclass
class Recipe:
    """All settings of a run. `model` holds arguments of `create_model`, `trainer` those of Lightning's Trainer."""

    model: dict[str, Any] = field(default_factory=dict)
    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)
    loss: Loss = field(default_factory=Loss)
    distill: Distill = field(default_factory=Distill)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    start_from: str | None = None  # a checkpoint to take the initial weights from
    start_needed: str | None = None  # what `start_from` must be, in words, for a recipe that cannot start without
    epochs: int = 10
    batch_size: int = 128  # per device and step
    accumulate: int = 1  # steps per update
    label_smoothing: float = 0.0
    clip_grad_norm: float | None = None
    ema_decay: float | None = None  # keep a moving average of the weights, and evaluate it
    ema_warmup: bool = False  # average over few steps at first, so that the random start is soon forgotten
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    memory: Literal["plain", "lean"] = "plain"  # lean recomputes blocks in the backward pass, to save memory
    profile_every: int = 500  # steps between counts of operations and energy in TensorBoard; 0 is never
    compile: bool = False  # with torch.compile, at the first steps
    sync_norm: bool = False  # normalise over the batches of all processes
    save_minutes: float = 10.0  # time between checkpoints within an epoch
    keep: int = 2  # checkpoints kept besides the best and the last
    stop_if_unsaved: bool = True  # stop if a checkpoint cannot be written, as on a full disk; false only warns
    oversubscribe: bool = False  # allow more processes than processor cores, which can bring a machine down
    seed: int = 0
    trainer: dict[str, Any] = field(default_factory=dict)  # devices, num_nodes, strategy, ...
    out: str = "runs"  # where run folders go
    run: str | None = None  # folder in `out`; null is the recipe's name

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raises ValueError for a field that is out of range, or fields that exclude each other."""
        check_settings(self)
        if "name" not in self.model:
            raise ValueError("model.name is missing: name a model, as in --model spikformer_4_384_cifar10")
        if not isinstance(name := self.model["name"], str):
            raise ValueError(f"model.name is {'null' if name is None else name}: give the name of a model")
        if self.sync_norm and self.compile:
            raise ValueError("sync_norm and compile cannot be combined, as synchronised norms do not compile: drop one")
        mixing = self.augment.mixup > 0 or self.augment.cutmix > 0
        if mixing and self.batch_size % 2:
            raise ValueError(f"batch_size {self.batch_size} is odd, and mixup pairs images: use an even one")
        if self.loss.firing_weight and self.compile:
            raise ValueError("loss.firing_weight and compile cannot be combined, as it reads every neuron: drop one")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON types, which `read_recipe` reads."""
        model = {key: named_part(key, value) for key, value in self.model.items()}
        return json.loads(json.dumps(dataclasses.asdict(dataclasses.replace(self, model=model))))


def named_part(argument: str, value: Any) -> Any:
    """A model's argument as a settings file writes it: a part by its name, anything else unchanged."""
    if (slot := slot_of(argument)) and isinstance(value, dict):
        return {key: named_part(slot if key == "part" else key, inner) for key, inner in value.items()}
    return describe_part(slot, value) if slot and callable(value) else value
