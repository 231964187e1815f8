"""Labelled images for spiking transformers: sets by name or folder, their transforms, and replayable sampling.

An item of a set is (PIL image, label); `Augmented` puts a transform behind it and gives ([C, H, W] tensor, label), so a
batch is [B, C, H, W]. Importing this pulls in torch and Pillow; torchvision, timm and scikit-learn wait for their use.
"""

from .images import ImageSets, known_image_sets, load_images
from .sampling import Augmented, EpochSampler
from .transforms import eval_transform, train_transform

__all__ = [
    "Augmented",
    "EpochSampler",
    "ImageSets",
    "eval_transform",
    "known_image_sets",
    "load_images",
    "train_transform",
]
