"""Tests of the deep image prior."""

import numpy as np
import pytest
import skimage.data
import torch

from deblurlab.classical import deep_image_prior, deep_prior, line_psf
from deblurlab.classical.deep_prior import SkipNetwork, iterates, kernel_network
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


def test_patience_returns_the_image_of_the_smallest_variance() -> None:
    """The fit stops after `patience` iterations without a smaller variance, and returns the image of the smallest."""
    observed, psf = np.random.default_rng(0).random((16, 16, 3)), line_psf(3.0, 0.0)
    states = list(iterates(observed, psf, iterations=200, width=16, device="cpu"))
    best, stop = 100, 200
    for i in range(101, 200):
        if states[i].variance < states[best].variance:
            best = i
        elif i - best >= 10:
            stop = i
            break
    assert 110 < stop < 199
    restored = deep_image_prior(observed, psf, iterations=200, width=16, patience=10, device="cpu")
    assert np.array_equal(restored, states[best].restored[0].double().numpy().transpose(1, 2, 0))


def test_variance_is_that_of_the_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equation by hand: mean and variance with weight 0.1 of the newest output."""
    outputs = [torch.full((1, 3, 2, 2), value) for value in (0.0, 1.0, 0.5)]
    monkeypatch.setattr(deep_prior, "_fit", lambda *arguments, **options: iter(outputs))
    states = list(iterates(np.zeros((2, 2, 3)), np.ones((1, 1)), iterations=3))
    mean = 0.1 * 1.0  # after the second output
    expected = [0.0, 0.9 * 0.1 * 1.0**2, 0.9 * (0.9 * 0.1 * 1.0**2 + 0.1 * (0.5 - mean) ** 2)]
    assert [state.variance for state in states] == pytest.approx(expected)


def test_bfloat16_changes_the_fit_little() -> None:
    observed, psf = np.random.default_rng(0).random((32, 32, 3)), line_psf(3.0, 0.0)
    first, second = (
        deep_image_prior(observed, psf, iterations=1, width=8, precision=precision, device="cpu")
        for precision in ("fp32", "bf16")
    )
    assert 0 < np.abs(first - second).mean() < 0.02


@pytest.mark.parametrize("arguments", [{"iterations": 0}, {"kernel_size": 4}, {"kernel_size": 1}])
def test_numbers_out_of_range_raise(arguments: dict) -> None:
    with pytest.raises(ValueError, match="must be at least 1, kernel_size=.* odd and at least 3"):
        deep_image_prior(np.zeros((16, 16, 3)), None, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"), [({"width": 0}, "width=0"), ({"precision": "fp16"}, "precision=fp16 is unknown")]
)
def test_wrong_options_raise(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        deep_image_prior(np.zeros((16, 16, 3)), None, **arguments)
