"""Masked autoencoders: what they see, what they are held against, and what a fine-tuned model takes from them."""

import pytest
import torch
from tiny_models import build
from torch import nn

import spikeformers as sf
from spikeformers.checkpoints.save import save_pretrained
from spikeformers.layers.masking import ReleasedOrder
from spikeformers.models.sdt_v3_mae import grid_position, normed_patches
from spikeformers.training import fit
from spikeformers.training.start import start_from

_TINY = dict(depth=2, num_heads=2, image_size=64, decoder_dim=16, decoder_depth=1, decoder_num_heads=2)
TINY = dict(dims=(8, 16, 32), **_TINY)
EVERY = {"sdt_v3_mae_83m": TINY, "spikformer_v2_mae_16_768": dict(dim=32, **_TINY)}
every_mae = pytest.mark.parametrize("size", EVERY)


def mae(size="sdt_v3_mae_83m", **overrides):
    return sf.create_model(size, **{**EVERY[size], **overrides})


@every_mae
def test_every_parameter_has_a_finite_gradient(size):
    model = mae(size, time_steps=2).train()
    model.reconstruct(torch.randn(3, 3, 64, 64)).backward()
    faulty = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert faulty == []
    assert model.visible.keep is None


@every_mae
def test_hidden_pixels_reach_the_loss_as_what_is_to_be_painted_only(size, lively):
    x = torch.randn(2, 3, 64, 64)
    model = lively(mae(size, mask_ratio=0.5), x)
    seen = []
    model.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    def loss(x):
        return model.reconstruct(x, torch.Generator().manual_seed(1)).item()

    keep = (torch.rand(2, 16, generator=torch.Generator().manual_seed(1)).argsort(1).argsort(1) < 8).view(2, 1, 4, 4)
    keep = keep.repeat_interleave(16, -1).repeat_interleave(16, -2)
    changed = torch.where(keep, x, torch.randn_like(x))
    before, after = loss(x), loss(changed)
    assert torch.equal(seen[0], seen[1]) and before != after
    assert loss(torch.where(keep, torch.randn_like(x), x)) != before and not torch.equal(seen[2], seen[0])
    assert loss(x) == before


@every_mae
def test_nothing_spreads_into_hidden_patches(size, lively):
    """Behind each convolution of the first stages hidden places are zero, so that no block sees what is hidden."""
    x = torch.randn(1, 3, 64, 64)
    model = lively(mae(size, mask_ratio=0.5), x)
    maps = []
    for part in (model.stem, *model.blocks[:-2]):
        part.register_forward_hook(lambda *call: maps.append(call[2]))
    model.reconstruct(x, torch.Generator().manual_seed(1))
    keep = (torch.rand(1, 16, generator=torch.Generator().manual_seed(1)).argsort(1).argsort(1) < 8).view(4, 4)
    for y in maps:
        shown = y[0, 0].abs().sum(0) > 0  # h w
        factor = y.shape[-1] // 4
        assert not (shown & ~keep.repeat_interleave(factor, 0).repeat_interleave(factor, 1)).any()
        assert shown.any()


def test_the_loss_is_the_error_of_hidden_normed_patches():
    model, x = mae().eval(), torch.randn(2, 3, 64, 64)
    painted = torch.randn(2, 16, 16 * 16 * 3)
    model.decoder.forward = lambda stream, restore: painted
    hidden = torch.rand(2, 16, generator=torch.Generator().manual_seed(1)).argsort(1).argsort(1) >= 8
    loss = model.reconstruct(x, torch.Generator().manual_seed(1))
    patches = nn.functional.unfold(x, 16, stride=16).transpose(1, 2)  # B N C*p*p
    patches = patches.unflatten(-1, (3, 256)).transpose(2, 3).flatten(2)
    target = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(target, normed_patches(x, 16))
    torch.testing.assert_close(loss, ((painted - target) ** 2).mean(-1)[hidden].mean())


def test_tokens_stay_in_place_unless_the_released_order_is_asked_for():
    model, x = mae().eval(), torch.randn(2, 3, 64, 64)
    released = mae(order=ReleasedOrder).eval()
    released.load_state_dict(model.state_dict())
    loss, theirs = (m.reconstruct(x, torch.Generator().manual_seed(1)).item() for m in (model, released))
    assert loss != theirs
    assert released.config["order"] == "ReleasedOrder"
    stream, restore = torch.randn(1, 32, 4, 4), torch.randperm(16)[None]
    assert not torch.equal(model.decoder(stream, restore), released.decoder(stream, restore))
    same = torch.arange(16)[None]
    assert torch.equal(model.decoder(stream, same), released.decoder(stream, same))


def test_positions_are_sines_of_columns_and_rows():
    position = grid_position(8, 3).view(3, 3, 8)  # row, column
    assert torch.equal(position[0, :, :4], position[2, :, :4]) and torch.equal(position[:, 0, 4:], position[:, 1, 4:])
    angles = torch.tensor([2.0, 0.02])
    torch.testing.assert_close(position[0, 2, :4], torch.cat([angles.sin(), angles.cos()]))


def test_a_fine_tuned_model_starts_from_it(tmp_path, caplog):
    model = mae()
    save_pretrained(model, tmp_path)
    tuned = start_from(build("sdt_v3_large_kd"), str(tmp_path))
    weights = tuned.state_dict()
    taken = [key for key in weights if not key.startswith("head.") and not key.endswith(".scale")]
    assert all(torch.equal(weights[key], model.state_dict()[key]) for key in taken)
    assert tuned.blocks[7].attn.core.scale[0] == 0.5
    assert "has no weights for" in caplog.text and "decoder" in caplog.text


def test_a_spikformer_v2_starts_from_its_pre_training(tmp_path):
    model = mae("spikformer_v2_mae_16_768")
    save_pretrained(model, tmp_path)
    tuned = start_from(sf.create_model("spikformer_v2_16_768", dim=32, depth=2, num_heads=2), str(tmp_path))
    weights = {key: value for key, value in tuned.state_dict().items() if not key.startswith("head.")}
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in weights.items())


def test_a_file_in_the_released_layout_is_read(tmp_path):
    model = mae()
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.normal_(norm.weight)
    theirs = {}
    pairs = {"expand": "0.conv1", "proj": "0.conv2"}
    for key, value in model.state_dict().items():
        words = key.split(".")
        if words[0] == "decoder":
            new = {"norm": "norm", "out_norm": "decoder_norm"}.get(words[1], f"decoder_{words[1]}")
            theirs[".".join([new, *words[2:]])] = value
            continue
        kind = {"conv": "conv", "norm": "bn"}.get(words[-2], words[-2])
        row = ["ConvBlock1_1.0", "downsample1_2", "ConvBlock1_2.0", "downsample2", "ConvBlock2_1.0", "ConvBlock2_2.0"]
        row += ["downsample3", "block3.0", "block3.1"]
        block = "downsample1_1" if words[0] == "stem" else row[int(words[1])]
        if "downsample" in block:
            key = f"{block}.encode_{kind}.{words[-1]}"
        elif "ConvBlock" in block:
            key = f"{block}.conv{words[4][2]}.0.{int(kind == 'bn')}.{words[-1]}"
        elif "mlp" in words:
            key = f"{block}.mlp.{words[5]}_{kind}.{words[-1]}"
            value = value[..., 0] if value.ndim == 4 else value
        else:
            place = words[5:-1]  # q.expand.conv, q.proj.norm, q.norm
            inner = f"{pairs[place[1]]}.{int(kind == 'bn')}" if len(place) == 3 else "1"
            key = f"{block}.attn.{place[0]}_conv.{inner}.{words[-1]}"
            value = value[..., 0] if value.ndim == 4 else value
        theirs[key] = value
    theirs["pos_embed"], theirs["decoder_pos_embed"] = torch.zeros(1, 32, 16), torch.zeros(1, 16, 16)
    theirs["mask_token"] = torch.zeros(1, 1, 16)
    torch.save({"model": theirs, "epoch": 199}, tmp_path / "mae.pth")
    loaded = sf.load_checkpoint(mae(), tmp_path / "mae.pth")
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())
    tuned = start_from(build("sdt_v3_large"), str(tmp_path / "mae.pth"))
    key = "blocks.7.attn.core.core.q.expand.conv.weight"
    assert torch.equal(tuned.state_dict()[key], model.state_dict()[key])


def test_a_run_is_pre_training_and_the_next_starts_from_it(tmp_path):
    changes = {
        "data": {"name": "digits", "validation": 0.1, "workers": 0, "mean": [0.5], "std": [0.5]},
        "epochs": 1, "precision": "32-true", "batch_size": 4, "out": str(tmp_path),
        "schedule": {"warmup_epochs": 0}, "trainer": {"limit_train_batches": 2, "limit_val_batches": 1},
    }  # fmt: skip
    small = {key: list(value) if isinstance(value, tuple) else value for key, value in TINY.items()}
    result = fit("sdt_v3_large_pretrain", model={**small, "image_size": 32}, run="first", **changes)
    assert result.test is None and (result.run / "curves.png").is_file()
    model = {"dims": small["dims"], "depth": 2, "num_heads": 2, "image_size": 32}
    second = fit("sdt_v3_large_finetune", model=model, start_from=str(result.run), run="second", **changes)
    assert second.test is not None and second.test.images > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(mask_ratio=1.0), r"mask_ratio 1\.0 is not in \(0, 1\)"),
        (dict(mask_ratio=0.1, image_size=32), r"mask_ratio 0\.1 hides none or all of 4 patches: give one nearer to"),
        (dict(mask_ratio=0.9, image_size=32), r"mask_ratio 0\.9 hides none or all of 4 patches"),
        (dict(image_size=40), r"image_size 40 is not a multiple of 16"),
        (dict(num_classes=3), r"num_classes 3 is not 0"),
        (dict(decoder_dim=18), r"decoder_dim 18 is not a multiple of 4"),
    ],
)
def test_numbers_that_do_not_fit(changes, said):
    with pytest.raises(ValueError, match=said):
        mae(**changes)


def test_clips_cannot_be_masked():
    with pytest.raises(ValueError, match=r"shape \[2, 1, 3, 64, 64\] cannot be masked"):
        mae().reconstruct(torch.zeros(2, 1, 3, 64, 64))
