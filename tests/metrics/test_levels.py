"""Colour spaces of levels."""

import pytest
import torch

from deblurlab.metrics.levels import luma


def test_luma_equals_matlab() -> None:
    """Black is 16 and white 235 in rgb2ycbcr's documentation; red is computed by hand."""
    colours = torch.tensor([[0.0, 0, 0], [255, 255, 255], [255, 0, 0]]).T.view(1, 3, 1, 3).double()
    assert luma(colours).flatten().tolist() == pytest.approx([16, 235, 16 + 65.481])
