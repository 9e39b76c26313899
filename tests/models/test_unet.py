"""Tests of the U-Net and the residual U-Net."""

import pytest
import torch

from deblurlab.config import instantiate
from deblurlab.models import Model, UNet, UNetRes
from deblurlab.models.cost import count_macs, count_parameters
from support import config


@pytest.mark.parametrize("model", [UNet(width=8), UNetRes(width=8), UNetRes(width=8, patch=2)])
def test_untrained_model_is_the_identity(model: Model) -> None:
    image = torch.rand(1, 3, 37, 45)
    assert torch.equal(model(image), image)


def test_untrained_model_without_global_residual_is_not_the_identity() -> None:
    image = torch.rand(1, 3, 32, 32)
    assert not torch.equal(UNetRes(width=8, global_residual=False)(image), image)


@pytest.mark.parametrize("norm", ["none", "batch"])  # instance norm amplifies rounding errors of a constant image
def test_constant_image_has_no_checkerboard(norm: str) -> None:
    torch.manual_seed(0)
    model = UNetRes(width=8, norm=norm, global_residual=False).eval()
    restored = model(torch.full((1, 3, 192, 192), 0.4))
    middle = restored[..., 80:112, 80:112]  # outside the receptive field of the border
    torch.testing.assert_close(middle, middle[..., :1, :1].expand_as(middle), rtol=0, atol=1e-5)


def test_number_of_blocks_per_stage() -> None:
    model = UNetRes(width=4, depth=2, blocks=[3, 0, 1])
    assert [len(stage) for stage in model.encoder] == [3, 0]
    assert [len(stage) for stage in model.decoder] == [3, 0]
    assert len(model.bottom) == 1
    assert model.multiple_of == 4


def test_pixel_shuffle_inverts_pixel_unshuffle() -> None:
    """With identity convolutions on the 4 x 3 channels the model is the identity."""
    model = UNetRes(width=12, depth=0, blocks=0, patch=2, global_residual=False)
    assert (model.multiple_of, UNetRes(depth=3, patch=2).multiple_of) == (2, 16)
    for convolution in (model.stem, model.head):
        torch.nn.init.dirac_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    image = torch.rand(1, 3, 36, 45)
    assert torch.equal(model(image), image)


def test_patch_of_2_costs_a_quarter_except_stem_and_head() -> None:
    patch_1, patch_2 = (count_macs(UNetRes(width=8, patch=patch)) for patch in (1, 2))
    ends = 2 * 9 * 3 * 8 * 256 * 256  # stem and head have 4 times the image channels at a quarter of the pixels
    assert patch_2 - ends == (patch_1 - ends) / 4


def test_invalid_arguments_raise() -> None:
    with pytest.raises(ValueError, match="patch is 0: it must be at least 1"):
        UNet(patch=0)
    with pytest.raises(ValueError, match="max_width is 4: it must be at least width, 8"):
        UNet(width=8, max_width=4)
    with pytest.raises(ValueError, match="blocks has 2 numbers, a U-Net of depth 3 has 4 stages"):
        UNet(depth=3, blocks=[1, 2])
    with pytest.raises(ValueError, match="unknown norm 'group': none, instance or batch"):
        UNet(norm="group")  # type: ignore[arg-type]


def test_parameters_and_macs_counted_by_hand() -> None:
    """A U-Net of depth 1 and width 4 with one block per stage, on 256x256 pixels."""
    model = UNetRes(width=4, depth=1, blocks=1)
    weights = {
        "stem": 9 * 3 * 4, "encoder": 2 * 9 * 4 * 4, "down": 9 * 4 * 8, "bottom": 2 * 9 * 8 * 8,
        "up": 9 * 8 * 4, "merge": 8 * 4, "decoder": 2 * 9 * 4 * 4, "head": 9 * 4 * 3,
    }  # fmt: skip
    biases = 4 + 2 * 4 + 8 + 2 * 8 + 4 + 4 + 2 * 4 + 3
    assert count_parameters(model) == sum(weights.values()) + biases
    coarse = {"down", "bottom", "up"}  # layers at a quarter of the pixels
    assert count_macs(model) == sum(256 * 256 * n // (4 if name in coarse else 1) for name, n in weights.items())


def test_default_generator_cost() -> None:
    with torch.device("meta"):
        model = instantiate(config("model=unet_res").model)
    assert count_parameters(model) == 4_730_211
    assert count_macs(model) == 19_239_272_448


def test_channels_double_up_to_max_width() -> None:
    model = UNetRes(width=8, depth=3, max_width=20, blocks=1)
    assert [conv.out_channels for conv in model.down] == [16, 20, 20]
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 3, 32, 32)
