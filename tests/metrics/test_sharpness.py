"""Sharpness against OpenCV's Laplacian."""

import cv2
import numpy as np
import pytest
import torch

from deblurlab.metrics import sharpness


def test_sharpness_is_the_variance_of_the_laplacian_of_luma() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (2, 20, 31, 3)).astype(np.float64)
    values = sharpness(torch.from_numpy(rgb).permute(0, 3, 1, 2))
    for image, value in zip(rgb, values, strict=True):
        luma = 16 + image @ np.array([65.481, 128.553, 24.966]) / 255
        assert value.item() == pytest.approx(cv2.Laplacian(luma, cv2.CV_64F)[1:-1, 1:-1].var(), rel=1e-12)


def test_blur_lowers_sharpness_and_brightness_does_not_change_it() -> None:
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 100
    blurred = torch.nn.functional.avg_pool2d(image, 3, stride=1)
    assert sharpness(blurred) < 0.1 * sharpness(image)
    torch.testing.assert_close(sharpness(image + 100), sharpness(image))
    assert sharpness(torch.full((1, 3, 8, 8), 77.0).double()).item() == pytest.approx(0, abs=1e-12)
