"""DeepDeblur and its image pyramid."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.transform import pyramid_gaussian

from deblurlab.models import DeepDeblur
from deblurlab.models.deepdeblur import Border


def test_deepdeblur_passes_the_coarse_result_to_the_finer_scale() -> None:
    torch.manual_seed(0)
    model = DeepDeblur(width=4, blocks=1).train()
    restored = model(torch.rand(1, 3, 32, 32))
    restored[-1].sum().backward()
    assert model.stems[2].weight.grad.any()  # the coarsest network contributes to the finest result
    assert [scale.shape[-1] for scale in restored] == [8, 16, 32]


@pytest.mark.parametrize(("border", "mode"), [("symmetric", "reflect"), ("reflect", "mirror")])
def test_the_pyramid_is_that_of_scikit_image(border: Border, mode: str) -> None:
    """`pyramid_gaussian` filters with SciPy's mode `reflect`, which repeats the edge, and takes means of 2x2 pixels."""
    model = DeepDeblur(width=4, blocks=1, border=border).double().eval()
    pyramid: list[torch.Tensor] = []
    for stem in reversed(model.stems):
        stem.register_forward_pre_hook(lambda _, images: pyramid.append(images[0][:, :3]))
    image = torch.rand(2, 3, 16, 24, dtype=torch.float64)
    model(image)
    expected = 255 * image.numpy()
    for level in reversed(pyramid):
        assert np.abs(level.detach().numpy() + 127.5 - expected).max() < 1e-12
        smooth = gaussian_filter(expected, (0, 0, 2 / 3, 2 / 3), mode=mode)
        expected = (
            smooth[..., ::2, ::2] + smooth[..., 1::2, ::2] + smooth[..., ::2, 1::2] + smooth[..., 1::2, 1::2]
        ) / 4
    assert [level.shape[2] for level in pyramid] == [4, 8, 16]
    if border == "symmetric":
        channels_first = pyramid_gaussian(255 * image[0].numpy(), 2, channel_axis=0)
        for level, expected in zip(reversed(pyramid), channels_first, strict=True):
            assert np.abs(level[0].detach().numpy() + 127.5 - expected).max() < 1e-12
