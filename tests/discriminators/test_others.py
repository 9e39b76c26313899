"""The other discriminators against the published architectures."""

import pytest
import torch
import torch.nn.functional as F

from deblurlab.discriminators import Discriminator, Double, Multiscale, PatchGAN, Pixel, UNet
from deblurlab.models.cost import count_parameters


@pytest.mark.parametrize(
    ("discriminator", "count"),
    [
        (Double(), 2_764_737 + 11_154_369),
        (Multiscale(), 5_529_474),
        (Multiscale(scales=3), 8_294_211),
        (Multiscale(conditional=True), 5_535_618),
        (UNet(), 4_376_897),
        (Pixel(norm="batch"), 3 * 64 + 64 + 64 * 128 + 2 * 128 + 128 + 1),  # pix2pix's default
    ],
)
def test_parameter_counts_are_the_published_ones(discriminator: Discriminator, count: int) -> None:
    assert count_parameters(discriminator) == count


def test_each_logit_of_pixel_depends_on_one_pixel() -> None:
    torch.manual_seed(0)
    discriminator = Pixel(width=4, norm="none")
    image = torch.rand(1, 3, 5, 6, requires_grad=True)
    discriminator(image, image).logits[0][0, 0, 2, 3].backward()
    receptive_field = image.grad[0].abs().sum(0).nonzero()
    assert receptive_field.tolist() == [[2, 3]]


def test_each_scale_receives_half_the_size() -> None:
    torch.manual_seed(0)
    discriminator = Multiscale(n_layers=1, width=4)
    image = torch.rand(1, 3, 32, 32)
    output = discriminator(image, image)
    half = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
    assert torch.equal(output.logits[0], discriminator.scales[0](image, image).logits[0])
    assert torch.equal(output.logits[1], discriminator.scales[1](half, half).logits[0])


def test_double_is_two_patchgans_on_the_same_image() -> None:
    torch.manual_seed(0)
    discriminator = Double(patch_layers=1, full_layers=2, width=4)
    assert isinstance(discriminator.full, PatchGAN)
    image = torch.rand(1, 3, 64, 64)
    output = discriminator(image, image)
    for logits, part in zip(output.logits, (discriminator.patch, discriminator.full), strict=True):
        assert torch.equal(logits, part(image, image).logits[0])


def test_unet_has_one_logit_per_pixel() -> None:
    image = torch.rand(2, 3, 41, 50)
    assert UNet(width=4)(image, image).logits[0].shape == (2, 1, 41, 50)


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="scales is 0"):
        Multiscale(scales=0)
