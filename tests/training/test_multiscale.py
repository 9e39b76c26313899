"""Downsampling of images for coarse scales, against NumPy and scikit-image."""

from typing import Any

import numpy as np
import pytest
import torch
from skimage.transform import pyramid_gaussian
from torch import Tensor, nn

from deblurlab.errors import UserError
from deblurlab.losses import FFT, L1, LossTerm
from deblurlab.training.multiscale import downsample
from steps import module


def _images(height: int, width: int) -> Tensor:
    return torch.rand(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(height))


def _blocks(images: Tensor, factor: int) -> np.ndarray:
    """Return `(B, C, h, factor, w, factor)`: the pixels that each coarse pixel covers."""
    b, c, h, w = images.shape
    return images.numpy().reshape(b, c, h // factor, factor, w // factor, factor)


def _tensorflow_1(images: Tensor, factor: int) -> np.ndarray:
    """Return bilinear resizing without half-pixel centres: coarse pixel i lies at i * factor."""
    result = images.numpy()
    for axis in (2, 3):
        at = np.arange(result.shape[axis] // factor) * float(factor)
        lower = np.floor(at).astype(int)
        upper = np.minimum(lower + 1, result.shape[axis] - 1)
        share = (at - lower).reshape((-1, 1) if axis == 2 else (-1,))
        result = np.take(result, lower, axis) * (1 - share) + np.take(result, upper, axis) * share
    return result


@pytest.mark.parametrize("factor", [2, 4])
def test_area_bilinear_and_nearest_by_hand(factor: int) -> None:
    images = _images(16, 24)
    size, middle = (16 // factor, 24 // factor), slice(factor // 2 - 1, factor // 2 + 1)
    expected = {
        "area": _blocks(images, factor).mean(axis=(3, 5)),
        "bilinear": _blocks(images, factor)[:, :, :, middle, :, middle].mean(axis=(3, 5)),
        "nearest": _tensorflow_1(images, factor),
    }
    for method, values in expected.items():
        found = downsample(images, size, method)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.numpy(), values, rtol=0, atol=1e-15)


@pytest.mark.parametrize("size", [(32, 48), (33, 50), (7, 5), (3, 2)])
def test_gaussian_is_scikit_images_pyramid(size: tuple[int, int]) -> None:
    """DeepDeblur's data loader calls it with these arguments; sides may be odd and shorter than the kernel."""
    images = _images(*size)
    for image in images:
        pyramid = list(pyramid_gaussian(image.permute(1, 2, 0).numpy(), max_layer=2, channel_axis=-1))
        for level in pyramid[1:]:
            found = downsample(image[None], level.shape[:2], "gaussian")[0]
            np.testing.assert_allclose(found.permute(1, 2, 0).numpy(), level, rtol=0, atol=1e-14)


def test_gaussian_refuses_a_size_that_halving_does_not_reach() -> None:
    with pytest.raises(UserError, match=r"halves images of 24x24 pixels and doesn't reach the 8x8 of a restored image"):
        downsample(_images(24, 24), (8, 8), "gaussian")
    with pytest.raises(UserError, match="doesn't reach the 12x6"):
        downsample(_images(24, 24), (12, 6), "gaussian")


class Pyramid(nn.Module):
    """Returns fixed images at three scales."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.images = nn.ParameterList(torch.rand(4, 3, size // n, size // n) for n in (4, 2, 1))

    def forward(self, blurred: Tensor) -> list[Tensor]:
        return list(self.images)


def test_loss_of_mimo_unet_is_that_of_its_training_code() -> None:
    """Targets are bilinear at 1/2 and 1/4; L1 plus 0.1 times L1 of the unscaled real and imaginary parts."""
    torch.manual_seed(0)
    generator, sharp = Pyramid(32), torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    terms = {"l1": L1(), "fft": FFT(norm="backward")}
    trained = module(terms, generator=generator, weights={"l1": 1.0, "fft": 0.1}, target_scales="bilinear")
    batch: Any = {"blurred": sharp, "sharp": sharp}
    losses = trained.generator_losses(trained.micro_batches(batch)[0])
    found = sum(weight * value.item() for weight, value in losses.values())

    label = sharp.double() / 255
    middle = torch.from_numpy(_blocks(label, 4)[:, :, :, 1:3, :, 1:3].mean(axis=(3, 5)))
    expected = 0.0
    for restored, target in zip(
        generator.images, (middle, torch.from_numpy(_blocks(label, 2).mean(axis=(3, 5))), label), strict=True
    ):
        difference = restored.detach().double().numpy() - target.numpy()
        spectrum = np.fft.fft2(difference)
        expected += np.abs(difference).mean() + 0.1 * np.abs([spectrum.real, spectrum.imag]).mean()
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_blurred_image_is_downsampled_like_the_sharp_one() -> None:
    class Change(LossTerm):
        scales = "all"

        def forward(self, restored: Tensor, sharp: Tensor, blurred: Tensor) -> Tensor:
            seen.append((sharp, blurred))
            return (restored - sharp).mean()

    seen: list[tuple[Tensor, Tensor]] = []
    trained = module({"own": Change()}, generator=Pyramid(16), target_scales="nearest")
    batch: Any = {key: torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8) for key in ("blurred", "sharp")}
    trained.generator_losses(trained.micro_batches(batch)[0])
    for step, (sharp, blurred) in zip((4, 2, 1), seen, strict=True):
        torch.testing.assert_close(sharp, batch["sharp"][..., ::step, ::step] / 255)
        torch.testing.assert_close(blurred, batch["blurred"][..., ::step, ::step] / 255)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="target_scales=bicubic is unknown: area, bilinear, gaussian, nearest"):
        module({"l1": L1()}, target_scales="bicubic")
