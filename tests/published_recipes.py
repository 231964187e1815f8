"""What the papers' authors trained with, typed from the sheets of their code (sections Recipes), not from our files.

A recipe has every field of `NOTHING`, those of its row in `PUBLISHED`, and those of its size in `SIZES`. `lr` is the
highest rate of an update on as many processes as theirs.
"""

# What a recipe does not do unless it is said.
NOTHING = {
    "data.crop_pct": 1.0,
    "augment.hflip": 0.5,
    "augment.crop_scale": (1.0, 1.0),
    "augment.crop_ratio": (1.0, 1.0),
    "augment.rand_augment": None,
    "augment.rand_augment_ops": [],
    "augment.erase": 0.0,
    "augment.mixup": 0.0,
    "augment.cutmix": 0.0,
    "augment.mix_off_epoch": None,
    "augment.repeats": 1,
    "loss.name": "mean",
    "loss.firing_weight": 0.0,
    "distill.teacher": None,
    "optimizer.decay_all": False,
    "optimizer.layer_decay": None,
    "optimizer.args": {},
    "schedule.name": "cosine",
    "schedule.cooldown_epochs": 0,
    "schedule.per_update": False,
    "schedule.after_warmup": False,
    "accumulate": 1,
    "label_smoothing": 0.1,
    "clip_grad_norm": None,
    "ema_decay": None,
    "precision": "16-mixed",
    "start_needed": None,
    "model.drop_path": 0.0,
    "augment.clip_ops": {},
    "augment.clip_ops_drawn": 1,
    "processes": 1,
}
IMAGENET = {
    "data.name": "imagenet",
    "data.mean": [0.485, 0.456, 0.406],
    "data.std": [0.229, 0.224, 0.225],
    "model.image_size": 224,
    "processes": 8,
}
CIFAR10 = {
    "data.name": "cifar10",
    "data.mean": [0.4914, 0.4822, 0.4465],
    "data.std": [0.2470, 0.2435, 0.2616],
    "model.image_size": 32,
    "model.time_steps": 4,
}
CIFAR100 = {
    "data.name": "cifar100",
    "data.mean": [0.5071, 0.4867, 0.4408],
    "data.std": [0.2675, 0.2565, 0.2761],
    "model.image_size": 32,
    "model.time_steps": 4,
}
CIFAR100_AS_10 = {**CIFAR10, "data.name": "cifar100"}
RANDOM_CROP = {"augment.crop_scale": (0.08, 1.0), "augment.crop_ratio": (3 / 4, 4 / 3)}
ERASE_CONST = {"augment.erase": 0.25, "augment.erase_mode": "const"}
ERASE_PIXEL = {"augment.erase": 0.25, "augment.erase_mode": "pixel"}
BY_ITERATION = {"schedule.per_update": True, "schedule.after_warmup": True, "schedule.warmup_lr": 0.0}
MIXED = {"augment.mix_prob": 1.0, "augment.mix_switch_prob": 0.5}


def adamw(lr, weight_decay):
    return {"optimizer.name": "adamw", "lr": lr, "optimizer.weight_decay": weight_decay}


def cosine(epochs, warmup, warmup_lr, min_lr, cooldown=0):
    return {
        "epochs": epochs,
        "schedule.warmup_epochs": warmup,
        "schedule.warmup_lr": warmup_lr,
        "schedule.min_lr": min_lr,
        "schedule.cooldown_epochs": cooldown,
    }


def by_iteration(epochs, warmup, min_lr):
    return {"epochs": epochs, "schedule.warmup_epochs": warmup, "schedule.min_lr": min_lr, **BY_ITERATION}


# ---- Spikformer, section 1.7

SPIKFORMER_CIFAR = {
    **adamw(5e-4, 0.06),
    **cosine(300, 20, 1e-5, 1e-5, 10),
    **ERASE_CONST,
    **MIXED,
    "batch_size": 128,
    "augment.mixup": 0.5,
    "augment.mix_off_epoch": 200,
    "augment.rand_augment": "rand-m9-n1-mstd0.4-inc1",
    "augment.rand_augment_ops": ["Equalize", "Rotate", "ShearX", "TranslateXRel", "TranslateYRel"],
    "seed": 42,
}
SPIKFORMER_IMAGENET = {
    **IMAGENET,
    **adamw(5e-4, 0.05),
    **cosine(300, 20, 1e-6, 1e-5, 10),
    **ERASE_CONST,
    **MIXED,
    "batch_size": 24,
    "model.time_steps": 4,
    "augment.mixup": 0.8,
    "augment.cutmix": 1.0,
    "augment.crop_ratio": (3 / 4, 4 / 3),
    "augment.rand_augment": "rand-m9-mstd0.5-inc1",
    "seed": 42,
}

# ---- Spike-driven Transformer, section 2.7

SDT_IMAGENET = {
    **IMAGENET,
    **cosine(300, 20, 1e-5, 1.5e-5, 10),
    "processes": 1,  # not stated
    "optimizer.name": "lamb",
    "optimizer.weight_decay": 0.01,
    "lr": 1.5e-3,
    "batch_size": 48,
    "model.time_steps": 4,
    "augment.rand_augment": "rand-m5-mstd0.5-inc1",
    "augment.crop_scale": (0.2, 1.0),
    "augment.crop_ratio": (0.75, 1.33),
    "augment.mixup": 0.2,
    "augment.cutmix": 1.0,
    "augment.mix_prob": 0.6,
    "data.crop_pct": 0.95,
    "seed": 42,
}
SDT_OTHERS = {"lr": 1e-3, "schedule.min_lr": 2e-5, "augment.rand_augment": "rand-m7-mstd0.5-inc1"}
SDT_CIFAR = {
    **adamw(3e-4, 0.06),
    **cosine(300, 20, 1e-6, 1e-5, 10),
    "batch_size": 64,
    "precision": "32-true",
    "augment.rand_augment": "rand-m9-n1-mstd0.4-inc1",
    "augment.mixup": 0.5,
    "augment.mix_prob": 1.0,
    "augment.mix_off_epoch": 200,
    "seed": 42,
}

# ---- V2, section 3.6, and V3, section 4.8

LAMB = {"optimizer.name": "lamb", "optimizer.weight_decay": 0.05, "optimizer.args": {"trust_clip": True}}
M9 = {"augment.rand_augment": "rand-m9-mstd0.5-inc1"}
V2 = {**IMAGENET, **LAMB, **RANDOM_CROP, **ERASE_PIXEL, **M9, "data.crop_pct": 224 / 256}
V3 = {**IMAGENET, **LAMB, **RANDOM_CROP, **ERASE_PIXEL, **M9, "model.time_steps": 1, "resized": 232}
TEACHER = {
    "distill.teacher": "caformer_b36.sail_in22k_ft_in1k",
    "distill.name": "hard",
    "distill.weight": 0.5,
}
V3_DISTILL = {
    **V3,
    **MIXED,
    **TEACHER,
    **by_iteration(100, 5, 1e-6),
    "lr": 1e-3 * 196 * 8 / 256,
    "batch_size": 196,
    "augment.mixup": 0.5,
    "augment.cutmix": 1.0,
    "optimizer.layer_decay": 0.75,
    "ema_decay": 0.99996,
    "model.drop_path": 0.1,
    "start_needed": "the weights of sdt_v3_large_finetune",
}

# ---- QKFormer, section 2.7 of the other sheet, and those that train as it does

QKFORMER_IMAGENET = {
    **IMAGENET,
    **adamw(1.2e-3, 0.05),
    **by_iteration(200, 5, 1e-6),
    **RANDOM_CROP,
    **ERASE_PIXEL,
    **M9,
    "batch_size": 32,
    "accumulate": 2,
    "model.time_steps": 4,
    "data.crop_pct": 224 / 256,
}
QKFORMER_CIFAR = {
    **adamw(1e-3, 0.06),
    **cosine(400, 20, 1e-5, 1e-5, 10),
    **ERASE_CONST,
    "batch_size": 64,
    "augment.rand_augment": "rand-m9-n1-mstd0.4-inc1",
    "augment.mixup": 0.5,
    "augment.mix_prob": 1.0,
    "augment.mix_off_epoch": None,  # configured at 200, and never carried out
    "seed": 42,
}
SPIKINGFORMER_IMAGENET = {
    **SPIKFORMER_IMAGENET,
    "augment.crop_ratio": (1.0, 1.0),
    "batch_size": 288 // 8,
}

# ---- MSViT, section 2.4 of the second sheet

MSVIT_IMAGENET = {
    **QKFORMER_IMAGENET,
    **adamw(2.25e-4, 0.05),
    **by_iteration(200, 5, 1e-7),
    "batch_size": 4,
    "accumulate": 3,
}
MSVIT_CIFAR = {**QKFORMER_CIFAR, "seed": 0}

# ---- SGLFormer, section 1.6 of the second sheet; what it does not state is QKFormer's

SGLFORMER_CIFAR = {**QKFORMER_CIFAR, "seed": 0}

# ---- SWformer, section 6.5 of the second sheet

SWFORMER_IMAGENET = {
    **SDT_IMAGENET,
    **cosine(300, 30, 1e-6, 2e-5, 10),
    "processes": 8,
    "lr": 1e-3,
    "batch_size": 64,
    "model.image_size": 256,
    "augment.crop_ratio": (3 / 4, 4 / 3),
    "augment.repeats": 3,
    "seed": 0,
}
SWFORMER_CIFAR = {**QKFORMER_CIFAR, "lr": 1.5e-3, "batch_size": 128, "seed": 0}

# ---- SpikingResformer, section 3.6

SPIKINGRESFORMER = {
    **cosine(320, 3, 1e-5, 1e-5),
    "optimizer.name": "adamw",
    "optimizer.weight_decay": 0.01,
    "model.time_steps": 4,
    "seed": 12450,
}
RESFORMER_CIFAR10 = {**CIFAR10, "data.std": [0.2023, 0.1994, 0.2010]}
RESFORMER_CIFAR100 = {
    **CIFAR100,
    "data.mean": [129.3 / 255, 124.1 / 255, 112.4 / 255],
    "data.std": [68.2 / 255, 65.4 / 255, 70.4 / 255],
}
RESFORMER_DIRECT = {
    **SPIKINGRESFORMER,
    "epochs": 600,
    "batch_size": 128,
    "lr": 5e-4,
    "augment.rand_augment": "rand-m7-n1-mstd0.5-inc1",
    "augment.mixup": 0.5,
}
RESFORMER_TRANSFER = {
    **RESFORMER_DIRECT,
    "lr": 1e-4,
    "augment.rand_augment": "rand-m9-n1-mstd0.4-inc1",
    "start_needed": "the weights of spikingresformer_imagenet",
}

# ---- Max-Former, section 6.1

MAXFORMER_CIFAR = {**QKFORMER_CIFAR, "lr": 1.5e-3, "augment.cutmix": 0.5}

# ---- event cameras: sections 1.7 and 2.7, and 2.7, 3.6, 4.7 and 6.1 of the other sheet

EVENTS = {"data.frames_by": "number", "data.channels": 2, "data.test": 0.1, "data.split_seed": None}
CIFAR10_DVS = {**EVENTS, "data.name": "cifar10dvs", "model.image_size": 128, "model.time_steps": 16}
GESTURE = {**EVENTS, "data.name": "dvs128_gesture", "model.image_size": 128, "model.time_steps": 16}
SNN_WIDE = {
    **adamw(1e-3, 0.06),
    **cosine(96, 10, 1e-5, 1e-5, 10),
    "batch_size": 16,
    "augment.clip_ops": {
        "identity": 0, "shear_x": 0.3, "translate_x": 5, "translate_y": 5, "rotate": 30, "cutout": 0.11
    },
    "augment.mixup": 0.5,
    "augment.mix_prob": 0.5,
    "augment.mix_off_epoch": 75,
}  # fmt: skip
SDT_EVENTS = {"augment.hflip": 0.0, "seed": 42}
RESFORMER_EVENTS = {
    **SPIKINGRESFORMER,
    "data.channels": 3,
    "augment.clip_ops": {"roll": 64 // 3, "rotate": 30, "cutout_side": 1 / 3},
    "epochs": 300,
    "batch_size": 8,
    "optimizer.weight_decay": 0.05,
    "model.image_size": 64,
    "label_smoothing": 0.0,  # of one-hot targets, without effect
}
RESFORMER_EVENTS_TRANSFER = {
    **RESFORMER_EVENTS,
    "augment.clip_ops": {"roll": 128 // 3, "rotate": 30, "cutout_side": 1 / 3},
    "epochs": 100,
    "batch_size": 48,
    "model.image_size": 128,
    "model.time_steps": 10,
    "start_needed": "the weights of spikingresformer_imagenet",
}

# ---- SEW-ResNet has no sheet: but for the epochs these are ours

SEW_RESNET = {
    **cosine(150, 0, 0.0, 0.0),
    "optimizer.name": "sgd",
    "optimizer.args": {"momentum": 0.9, "nesterov": False},
    "augment.crop_ratio": (3 / 4, 4 / 3),
    "label_smoothing": 0.0,
}

PUBLISHED = {
    "spikformer_cifar10": {**CIFAR10, **SPIKFORMER_CIFAR},
    "spikformer_cifar100": {**CIFAR100, **SPIKFORMER_CIFAR},
    "spikformer_imagenet": SPIKFORMER_IMAGENET,
    "sdt_cifar10": {**CIFAR10, **SDT_CIFAR},
    "sdt_cifar100": {**CIFAR100, **SDT_CIFAR},
    "sdt_imagenet": SDT_IMAGENET,
    "sdt_v2_imagenet": {
        **V2,
        **by_iteration(200, 10, 1e-6),
        "lr": 2.4e-3,
        "batch_size": 128,
        "model.time_steps": 1,
    },
    "sdt_v2_imagenet_t4": {
        **V2,
        **TEACHER,
        **by_iteration(50, 5, 1e-6),
        "lr": 1.5e-5,
        "batch_size": 24,
        "model.time_steps": 4,
        "start_needed": "the weights of sdt_v2_imagenet (T = 1)",
    },
    "qsd_imagenet": {
        **V2,
        **by_iteration(300, 15, 1e-6),
        "lr": 3.675e-3,
        "batch_size": 196,
        "ema_decay": 0.99996,
        "model.time_steps": 1,
    },
    "sdt_v3_imagenet": {**V3, **by_iteration(200, 5, 1e-6), "lr": 4.8e-3, "batch_size": 256},
    "sdt_v3_large_pretrain": {
        **IMAGENET,
        **adamw(1.2e-3, 0.05),
        **by_iteration(200, 20, 5e-6),
        "optimizer.decay_all": True,
        "optimizer.args": {"betas": [0.9, 0.95], "eps": 1e-4},
        "batch_size": 256,
        "augment.crop_scale": (0.2, 1.0),
        "augment.crop_ratio": (3 / 4, 4 / 3),
        "model.mask_ratio": 0.5,
        "model.time_steps": 1,
        "label_smoothing": 0.0,
        "resized": 232,
    },
    "sdt_v3_large_finetune": {
        **V3,
        **MIXED,
        **by_iteration(150, 10, 1e-6),
        "lr": 2.4e-3,
        "batch_size": 128,
        "augment.mixup": 0.8,
        "augment.cutmix": 1.0,
        "optimizer.layer_decay": 0.75,
        "ema_decay": 0.99996,
        "model.drop_path": 0.1,
        "start_needed": "the weights of sdt_v3_large_pretrain",
    },
    "sdt_v3_large_distill": V3_DISTILL,
    "sdt_v3_large_384": {
        **V3_DISTILL,
        "model.image_size": 384,
        "resized": 384,
        "start_needed": "the weights of sdt_v3_large_distill",
    },
    "qkformer_cifar10": {**CIFAR10, **QKFORMER_CIFAR},
    "qkformer_cifar100": {**CIFAR100_AS_10, **QKFORMER_CIFAR},
    "qkformer_imagenet": QKFORMER_IMAGENET,
    "qkformer_imagenet_384": {
        **QKFORMER_IMAGENET,
        "model.image_size": 384,
        "data.crop_pct": 1.0,
        "lr": 7.53e-6,
        "epochs": 10,
        "schedule.name": "poly",
        "schedule.warmup_epochs": 0,
        "schedule.warmup_lr": 1e-5,
        "schedule.after_warmup": False,
        "schedule.min_lr": 5e-7,
        "batch_size": 8,
        "accumulate": 8,
        "start_needed": "the weights of qkformer_imagenet of the same size",
    },
    "qkformer_pruned_imagenet": {
        **QKFORMER_IMAGENET,
        "lr": 1e-5 * 72 * 8 / 256,
        "epochs": 50,
        "batch_size": 72,
        "accumulate": 1,
        "model.pruning": {
            "part": "ReleasedTokenPruning",
            "keep": [0.9, 0.9, *[0.8] * 5, *[0.75] * 3],
            "kernel_size": 7,
        },
        "start_needed": "the weights of qkformer_imagenet of the same size",
    },
    "swformer_imagenet": SWFORMER_IMAGENET,
    "swformer_cifar10": {**CIFAR10, **SWFORMER_CIFAR, "schedule.warmup_lr": 8e-5},
    "swformer_cifar100": {**CIFAR100_AS_10, **SWFORMER_CIFAR},
    "swformer_cifar10dvs": {**CIFAR10_DVS, **SNN_WIDE, "lr": 5e-3, "schedule.min_lr": 2e-5},
    "msvit_imagenet": MSVIT_IMAGENET,
    "msvit_cifar10": {**CIFAR10, **MSVIT_CIFAR},
    "msvit_cifar100": {**CIFAR100_AS_10, **MSVIT_CIFAR},
    "sglformer_imagenet": {**QKFORMER_IMAGENET, **adamw(1.2e-3, 0.05), **by_iteration(200, 5, 1e-6)},
    "sglformer_cifar10": {**CIFAR10, **SGLFORMER_CIFAR},
    "sglformer_cifar100": {**CIFAR100_AS_10, **SGLFORMER_CIFAR, "optimizer.weight_decay": 0.05},
    "sglformer_cifar10dvs": {**CIFAR10_DVS, **SNN_WIDE, "lr": 5e-3, "model.time_steps": 10},
    "sglformer_gesture": {**GESTURE, **SNN_WIDE, "lr": 5e-3, "epochs": 192},
    "spikingformer_cifar10": {**CIFAR10, **QKFORMER_CIFAR, "lr": 5e-4},
    "spikingformer_cifar100": {**CIFAR100_AS_10, **QKFORMER_CIFAR, "lr": 5e-4},
    "spikingformer_imagenet": SPIKINGFORMER_IMAGENET,
    "spikingresformer_imagenet": {
        **IMAGENET,
        **SPIKINGRESFORMER,
        **RANDOM_CROP,
        **MIXED,
        "batch_size": 32,
        "lr": 1e-3,
        "augment.rand_augment": "rand-m7-mstd0.5-inc1",
        "augment.mixup": 0.2,
        "augment.cutmix": 1.0,
        "data.crop_pct": 0.95,
        "trainer": {},
    },
    "spikingresformer_cifar10": {**RESFORMER_CIFAR10, **RESFORMER_DIRECT},
    "spikingresformer_cifar100": {**RESFORMER_CIFAR100, **RESFORMER_DIRECT},
    "spikingresformer_cifar10_transfer": {
        **RESFORMER_CIFAR10, **RESFORMER_TRANSFER, "epochs": 100, "model.image_size": 128
    },
    "spikingresformer_cifar100_transfer": {
        **RESFORMER_CIFAR100, **RESFORMER_TRANSFER, "epochs": 150, "model.image_size": 128
    },
    "maxformer_cifar10": {**CIFAR10, **MAXFORMER_CIFAR, "batch_size": 128},
    "maxformer_cifar100": {**CIFAR100_AS_10, **MAXFORMER_CIFAR, "batch_size": 64, "augment.mixup": 0.75},
    "maxformer_imagenet": {
        **QKFORMER_IMAGENET,
        "lr": 1.35e-3 * 64 * 8 / 256,
        "batch_size": 64,
        "accumulate": 1,
        "augment.cutmix": 1.0,
        "augment.mix_prob": 0.5,
    },
    "spikformer_cifar10dvs": {**CIFAR10_DVS, **SNN_WIDE, "seed": 2021},
    "spikformer_gesture": {**GESTURE, **SNN_WIDE, "epochs": 200},
    "sdt_cifar10dvs": {
        **CIFAR10_DVS,
        **SDT_EVENTS,
        **adamw(7.5e-3, 1e-4),
        **cosine(200, 10, 1e-3, 3e-4, 10),
        "batch_size": 32,
        "model.time_steps": 10,
        "model.image_size": 64,
        "loss.name": "tet",
        "loss.tet_target": 1.0,
        "loss.tet_weight": 1e-3,
    },
    "sdt_gesture": {
        **GESTURE,
        **SDT_EVENTS,
        **cosine(200, 10, 1e-6, 1e-5, 10),
        "optimizer.name": "lamb",
        "optimizer.weight_decay": 0.06,
        "lr": 3e-4,
        "batch_size": 16,
    },
    "qkformer_cifar10dvs": {**CIFAR10_DVS, **SNN_WIDE, "lr": 5e-3},
    "qkformer_gesture": {**GESTURE, **SNN_WIDE, "epochs": 192, "schedule.min_lr": 2e-5},
    "spikingformer_cifar10dvs": {**CIFAR10_DVS, **SNN_WIDE},
    "spikingformer_gesture": {**GESTURE, **SNN_WIDE, "epochs": 192},
    "maxformer_cifar10dvs": {**CIFAR10_DVS, **SNN_WIDE, "lr": 5e-3, "augment.cutmix": 0.1},
    "maxformer_gesture": {
        **GESTURE, **SNN_WIDE, "epochs": 150, "schedule.min_lr": 2e-5, "augment.cutmix": 0.1
    },
    "spikingresformer_cifar10dvs": {**CIFAR10_DVS, **RESFORMER_EVENTS, "model.time_steps": 16, "lr": 5e-4},
    "spikingresformer_gesture": {**GESTURE, **RESFORMER_EVENTS, "model.time_steps": 16, "lr": 1e-4},
    "spikingresformer_cifar10dvs_transfer": {
        **CIFAR10_DVS, **RESFORMER_EVENTS_TRANSFER, "lr": 4e-5, "optimizer.weight_decay": 0.01
    },
    "spikingresformer_gesture_transfer": {**GESTURE, **RESFORMER_EVENTS_TRANSFER, "lr": 1e-4},
    "sew_resnet_imagenet": {**SEW_RESNET, "data.crop_pct": 224 / 256, "augment.crop_scale": (0.08, 1.0)},
    "sew_resnet_cifar10": {**CIFAR10, **SEW_RESNET, "augment.crop_scale": (0.25, 1.0)},
}  # fmt: skip

BATCH_24 = {"batch_size": 192 // 8}
SIZES = {
    "spikformer_cifar10": {f"spikformer_{n}_cifar10": {} for n in ("4_384", "4_256", "2_384")},
    "spikformer_cifar100": {f"spikformer_{n}_cifar100": {} for n in ("4_384", "4_256", "2_384")},
    "spikformer_imagenet": {f"spikformer_{n}": {} for n in ("8_512", "8_384", "6_512", "10_512", "8_768")},
    "sdt_cifar10": {"sdt_2_512_cifar10": {}, "sdt_2_256_cifar10": {}},
    "sdt_cifar100": {"sdt_2_512_cifar100": {}, "sdt_2_256_cifar100": {}},
    "sdt_imagenet": {
        "sdt_8_384": {},
        "sdt_8_512": {},
        "sdt_6_512": {**SDT_OTHERS, "augment.crop_scale": (0.08, 1.0)},
        "sdt_10_512": {**SDT_OTHERS, "augment.mix_prob": 0.75, "batch_size": 36},
        "sdt_8_768": {
            **SDT_OTHERS, "augment.mix_prob": 1.0, "batch_size": 36, "augment.crop_scale": (0.08, 1.0)
        },
    },
    "sdt_v2_imagenet": {f"sdt_v2_{n}": {} for n in ("55m", "31m", "15m", "124m")},
    "sdt_v2_imagenet_t4": {
        "sdt_v2_55m_kd": {},
        **{f"sdt_v2_{n}": {"distill.teacher": None} for n in ("55m", "31m", "15m")},
    },
    "qsd_imagenet": {f"qsd_{n}": {} for n in ("55m", "31m", "15m", "8m", "75m", "124m")},
    "sdt_v3_imagenet": {f"sdt_v3_{n}": {} for n in ("19m", "10m", "5m", "3m")},
    "sdt_v3_large_pretrain": {f"sdt_v3_mae_{n}": {} for n in ("83m", "171m")},
    "sdt_v3_large_finetune": {
        **{f"sdt_v3_83m{d}": {"model.dims": [128, 256, 512]} for d in ("", "_d8")},
        **{f"sdt_v3_171m{d}": {"model.dims": [192, 384, 768]} for d in ("", "_d8")},
    },
    "sdt_v3_large_distill": {
        **{f"sdt_v3_83m{d}_kd": {"model.dims": [128, 256, 512]} for d in ("", "_d8")},
        **{f"sdt_v3_171m{d}_kd": {"model.dims": [192, 384, 768]} for d in ("", "_d8")},
    },
    "sdt_v3_large_384": {
        **{f"sdt_v3_171m{d}_kd": {"model.dims": [192, 384, 768]} for d in ("_d8", "")},
        **{f"sdt_v3_83m{d}_kd": {"model.dims": [128, 256, 512]} for d in ("_d8", "")},
    },
    "qkformer_cifar10": {f"qkformer_4_{n}_cifar10": {} for n in (384, 256, 512)},
    "qkformer_cifar100": {f"qkformer_4_{n}_cifar100": {} for n in (384, 256, 512)},
    "qkformer_imagenet": {
        "qkformer_10_384": {},
        "qkformer_10_512": {},
        "qkformer_10_768": {"batch_size": 24, "accumulate": 3, "lr": 1.35e-3},
    },
    "qkformer_imagenet_384": {"qkformer_10_768": {}},
    "qkformer_pruned_imagenet": {f"qkformer_10_{n}": {} for n in (768, 512, 384)},
    "swformer_imagenet": {
        "swformer_8_512": {},
        "swformer_6_512": {
            "lr": 1.2e-3, "augment.rand_augment": "rand-m7-mstd0.5-inc1", "augment.mix_prob": 1.0,
            "augment.crop_scale": (0.08, 1.0),
        },
    },
    **{f"swformer_cifar{k}": {f"swformer_4_384_cifar{k}": {}} for k in (10, 100)},
    "swformer_cifar10dvs": {"swformer_2_256_cifar10dvs": {}},
    "msvit_imagenet": {f"msvit_10_{n}": {} for n in (384, 512, 768)},
    **{f"msvit_cifar{k}": {f"msvit_4_384_cifar{k}": {}} for k in (10, 100)},
    "sglformer_imagenet": {f"sglformer_8_{n}": {} for n in ("512", "384", "512_star", "768_star")},
    **{f"sglformer_cifar{k}": {f"sglformer_4_384_cifar{k}": {}} for k in (10, 100)},
    **{f"sglformer_{data}": {f"sglformer_3_256_{data}": {}} for data in ("cifar10dvs", "gesture")},
    **{
        f"spikingformer_cifar{k}": {
            **{f"{stem}_{n}_cifar{k}": {} for stem in ("spikingformer", "spikingformer_cml")
               for n in ("4_384", "4_256", "2_384")},
            f"spikformer_cml_4_384_cifar{k}": {},
        }
        for k in (10, 100)
    },
    "spikingformer_imagenet": {
        f"{stem}_8_{n}": row
        for stem in ("spikingformer", "spikingformer_cml", "spikformer_cml")
        for n, row in ((512, {}), (384, {}), (768, BATCH_24))
    },
    "spikingresformer_imagenet": {
        "spikingresformer_ti": {},
        "spikingresformer_s": {},
        "spikingresformer_m": {"batch_size": 28, "lr": 8e-4, "augment.rand_augment": "rand-m9-mstd0.5-inc1"},
        "spikingresformer_l": {
            "batch_size": 16, "lr": 5e-4, "augment.rand_augment": "rand-m9-n3-mstd0.5-inc1",
            "sync_norm": True,
        },
    },
    "spikingresformer_cifar10": {"spikingresformer_ti_cifar10": {}},
    "spikingresformer_cifar100": {"spikingresformer_ti_cifar100": {}},
    "spikingresformer_cifar10_transfer": {f"spikingresformer_{n}": {} for n in ("s", "ti", "m", "l")},
    "spikingresformer_cifar100_transfer": {f"spikingresformer_{n}": {} for n in ("s", "ti", "m", "l")},
    "maxformer_cifar10": {"maxformer_4_384_cifar10": {}},
    "maxformer_cifar100": {"maxformer_4_384_cifar100": {}},
    "maxformer_imagenet": {
        "maxformer_10_384": {"augment.mixup": 0.25, "schedule.min_lr": 2.5e-6},
        "maxformer_10_512": {
            "augment.mixup": 0.4, "schedule.min_lr": 1e-6, "model.time_steps": 1, "lr": 1.2e-3 * 64 * 8 / 256
        },
        "maxformer_10_768": {"augment.mixup": 0.8, "schedule.min_lr": 1e-5},
    },
    "sew_resnet_imagenet": {f"sew_resnet{n}": {} for n in (18, 34, 50, 101, 152)},
    "sew_resnet_cifar10": {"sew_resnet18_cifar10": {}},
    **{
        f"{family}_{data}": {f"{family}_2_256_{data}": {}}
        for family in ("spikformer", "sdt", "qkformer", "maxformer") for data in ("cifar10dvs", "gesture")
    },
    **{
        f"spikingformer_{data}": {f"spikingformer_2_256_{data}": {}, f"spikingformer_cml_2_256_{data}": {}}
        for data in ("cifar10dvs", "gesture")
    },
    **{f"spikingresformer_{data}": {f"spikingresformer_{data}": {}} for data in ("cifar10dvs", "gesture")},
    **{f"spikingresformer_{data}_transfer": {"spikingresformer_s": {}} for data in ("cifar10dvs", "gesture")},
}  # fmt: skip
