"""The untrained network."""

import numpy as np
import pytest
import skimage.data
import torch

from deblurlab.classical import deep_image_prior, line
from deblurlab.classical.deep_prior import SkipNetwork, kernel_network
from support import blurred


def test_networks_have_the_published_numbers_of_parameters() -> None:
    assert sum(p.numel() for p in SkipNetwork().parameters()) == 2_217_831
    assert [sum(p.numel() for p in kernel_network(side).parameters()) for side in (21, 31)] == [642_441, 1_162_961]


def test_the_network_makes_pictures_of_its_codes_size() -> None:
    picture = SkipNetwork()(torch.rand(1, 32, 64, 96))
    assert picture.shape == (1, 3, 64, 96)
    assert 0 < picture.min() < picture.max() < 1


@pytest.mark.slow
@pytest.mark.parametrize("blind", [False, True])
def test_it_explains_what_is_seen(blind: bool) -> None:
    """What it makes comes nearer to the sharp picture than what is seen, and nearer the longer it takes."""
    sharp = skimage.data.chelsea()[100:132, 120:160] / 255
    psf = line(5.0, 0.0)
    seen = blurred(sharp, psf)
    errors = []
    for iterations in (20, 300):
        made = deep_image_prior(
            seen, None if blind else psf, iterations=iterations, kernel_size=7, patience=10_000, device="cpu"
        )
        assert made.shape == sharp.shape
        errors.append(float(((made - sharp) ** 2).mean()))
    assert errors[1] < 0.5 * errors[0]


def test_a_seed_gives_the_same_picture_and_leaves_the_global_stream_alone() -> None:
    seen = np.random.default_rng(0).random((20, 20, 3))
    state = torch.get_rng_state()
    first, again, other = (deep_image_prior(seen, None, iterations=2, kernel_size=3, seed=s) for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_patience_ends_it() -> None:
    """An error that can't fall any more stops the fit long before its iterations are over."""
    flat = np.full((16, 16, 3), 0.5)
    counted = []
    step = torch.optim.Adam.step

    def count(self: torch.optim.Adam, *arguments: object) -> object:
        counted.append(1)
        return step(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", count)
        deep_image_prior(flat, line(3.0, 0.0), iterations=400, patience=20, device="cpu")
    assert 20 < len(counted) < 400


@pytest.mark.parametrize("arguments", [{"iterations": 0}, {"kernel_size": 4}, {"kernel_size": 1}])
def test_numbers_out_of_range_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match="must be at least 1, kernel_size=.* odd and at least 3"):
        deep_image_prior(np.zeros((16, 16, 3)), None, **arguments)
