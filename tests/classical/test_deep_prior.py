"""Tests of the deep image prior."""

import numpy as np
import pytest
import skimage.data
import torch

from deblurlab.classical import deep_image_prior, line_psf
from deblurlab.classical.deep_prior import SkipNetwork, kernel_network
from support import blurred


def test_networks_have_the_published_parameter_counts() -> None:
    assert sum(p.numel() for p in SkipNetwork().parameters()) == 2_217_831
    assert [sum(p.numel() for p in kernel_network(side).parameters()) for side in (21, 31)] == [642_441, 1_162_961]


def test_network_output_has_the_size_of_its_input() -> None:
    image = SkipNetwork()(torch.rand(1, 32, 64, 96))
    assert image.shape == (1, 3, 64, 96)
    assert 0 < image.min() < image.max() < 1


@pytest.mark.slow
@pytest.mark.parametrize("blind", [False, True])
def test_fit_approaches_the_sharp_image(blind: bool) -> None:
    """The error falls with the number of iterations."""
    sharp = skimage.data.chelsea()[100:132, 120:160] / 255
    psf = line_psf(5.0, 0.0)
    observed = blurred(sharp, psf)
    errors = []
    for iterations in (10, 60):
        restored = deep_image_prior(
            observed, None if blind else psf, iterations=iterations, kernel_size=7, patience=10_000, device="cpu"
        )
        assert restored.shape == sharp.shape
        errors.append(float(((restored - sharp) ** 2).mean()))
    assert errors[1] < 0.3 * errors[0]


def test_result_depends_on_the_seed_and_not_on_the_global_generator() -> None:
    observed = np.random.default_rng(0).random((20, 20, 3))
    state = torch.get_rng_state()
    first, again, other = (deep_image_prior(observed, None, iterations=2, kernel_size=3, seed=s) for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_patience_stops_the_fit() -> None:
    """A loss that no longer falls stops the fit before the maximum number of iterations."""
    flat = np.full((16, 16, 3), 0.5)
    steps = []
    step = torch.optim.Adam.step

    def count(self: torch.optim.Adam, *arguments: object) -> object:
        steps.append(1)
        return step(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", count)
        deep_image_prior(flat, line_psf(3.0, 0.0), iterations=200, patience=5, device="cpu")
    assert 5 < len(steps) < 200


@pytest.mark.parametrize("arguments", [{"iterations": 0}, {"kernel_size": 4}, {"kernel_size": 1}])
def test_numbers_out_of_range_raise(arguments: dict) -> None:
    with pytest.raises(ValueError, match="must be at least 1, kernel_size=.* odd and at least 3"):
        deep_image_prior(np.zeros((16, 16, 3)), None, **arguments)
