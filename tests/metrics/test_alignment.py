"""Alignment with a reference, for known shifts."""

import numpy as np
import pytest
import skimage.data
import torch

from deblurlab.errors import UserError
from deblurlab.metrics import Measurement, Protocol
from deblurlab.metrics.alignment import align_to_reference
from deblurlab.metrics.psnr import psnr_of_levels
from deblurlab.metrics.ssim import ssim_of_levels
from support import config


def _measurement(metric: str, *, align: bool = True) -> Measurement:
    return Measurement(config(f"metric={metric}").metric, Protocol(align=align))


def _levels(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None]


def test_a_shift_is_undone_and_the_mask_excludes_what_it_moved_out_of_the_image() -> None:
    photo = skimage.data.astronaut()
    sharp, moved = (_levels(image[50:250, 100:300]) for image in (photo, np.roll(photo, (2, -3), (0, 1))))
    factor = (moved * sharp).sum() / (0.9 * moved.square().sum())  # least squares before the shift is undone
    image, mask = align_to_reference(0.9 * moved, sharp)
    expected = torch.zeros(1, 1, 200, 200, dtype=torch.float64)
    expected[..., :-2, 3:] = 1  # moved 2 pixels down and 3 to the left
    assert torch.equal(mask, expected)
    assert ((image - 0.9 * factor * sharp) * mask).abs().mean() < 0.5
    measurement = Measurement(config("metric=psnr+ssim").metric, Protocol(align=True, quantise="none"))
    found = measurement.measure(0.9 * moved[0] / 255, [sharp[0] / 255])
    assert found["psnr"] == pytest.approx(psnr_of_levels(image, sharp, mask).item(), abs=0.01)
    assert found["ssim"] == pytest.approx(ssim_of_levels(image, sharp, mask).item(), abs=1e-4)
    assert abs(found["psnr"] - psnr_of_levels(image, sharp).item()) > 0.1


def test_levels_stay_between_0_and_255() -> None:
    """The brightness factor is greater than 1, and bicubic interpolation overshoots at the edges."""
    photo = np.kron(np.random.default_rng(0).integers(0, 2, (12, 12, 1)), np.ones((16, 16, 3))) * 255
    blocks = (photo + np.roll(photo, 1, axis=1)) / 2  # moved by half a pixel
    image, _ = align_to_reference(0.8 * _levels(blocks), _levels(photo))
    assert (image.min().item(), image.max().item()) == (0, 255)
    inside = image.view(1, 3, 12, 16, 12, 16)[:, :, :, 4:12, :, 4:12].mean(dim=(3, 5))
    centres = _levels(photo[8::16, 8::16])
    assert (inside[centres == 0] == 0).all()
    assert (inside[centres == 255] > 250).all()


def test_alignment_undoes_a_shift_and_a_change_of_brightness() -> None:
    photo = torch.from_numpy(skimage.data.astronaut()[50:250, 100:300]).permute(2, 0, 1) / 255
    moved = torch.from_numpy(np.roll(skimage.data.astronaut(), (2, -3), (0, 1))[50:250, 100:300].copy())
    moved = 0.9 * moved.permute(2, 0, 1) / 255
    unaligned = _measurement("psnr", align=False).measure(moved, [photo])["psnr"]
    found = _measurement("psnr+ssim").measure(moved, [photo])
    assert unaligned < 20
    assert found["psnr"] > unaligned + 12
    assert found["ssim"] > 0.95


def test_images_without_correlation_cannot_be_aligned() -> None:
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.random((3, 64, 64))).float() for _ in range(2)]
    with pytest.raises(ValueError, match="can't be aligned"):
        _measurement("psnr").measure(torch.zeros(3, 64, 64), images[:1])


def test_alignment_needs_metrics_with_a_mask() -> None:
    with pytest.raises(UserError, match=r"ssim_matlab_rgb doesn't support: leave it out of metric=psnr\+ssim_matlab"):
        _measurement("psnr+ssim_matlab_rgb")
