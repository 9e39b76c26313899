"""Properties of loss terms, which the training step reads."""

from typing import Any

import pytest
import torch

from deblurlab.losses import (
    FFT,
    L1,
    LPIPS,
    MSE,
    MSSSIM,
    PSNR,
    SSIM,
    TV,
    Adv,
    AdvHinge,
    AdvLS,
    AdvRaLS,
    AdvWGANGP,
    Charbonnier,
    Cycle,
    Edge,
    FeatureMatching,
    FocalFrequency,
    Identity,
    LossTerm,
)


@pytest.mark.parametrize(
    ("term", "compares", "scales", "min_size"),
    [
        (LossTerm, "pair", "finest", 1), (L1, "pair", "all", 1), (MSE, "pair", "all", 1), (PSNR, "pair", "all", 1),
        (Charbonnier, "pair", "all", 1), (FFT, "pair", "all", 1), (FocalFrequency, "pair", "all", 1),
        (Edge, "pair", "all", 3), (TV, "set", "finest", 2), (LPIPS, "pair", "finest", 32),
        (SSIM(), "pair", "finest", 11), (SSIM(sigma=0.5), "pair", "finest", 5), (MSSSIM(), "pair", "finest", 176),
        (MSSSIM(sigma=0.5), "pair", "finest", 80),
        (Cycle, "cycle", "all", 1), (Identity, "identity", "all", 1), (FeatureMatching, "pair", "finest", 1),
        (Adv, "set", "finest", 1),
    ],
)  # fmt: skip
def test_images_and_scales_that_terms_apply_to(term: Any, compares: str, scales: str, min_size: int) -> None:
    assert (term.compares, term.scales, term.min_size) == (compares, scales, min_size)


def test_images_below_the_minimum_size_have_no_edges_and_no_differences() -> None:
    for term, side in ((Edge(), 2), (TV(), 1)):
        assert term(*torch.rand(2, 1, 3, side, 9)).isnan()


def test_properties_of_adversarial_losses_are_the_published_ones() -> None:
    terms = Adv, AdvLS, AdvHinge, AdvRaLS, AdvWGANGP
    assert [term.n_critic for term in terms] == [1, 1, 1, 1, 5]
    assert [term.boundary for term in terms] == [0, 0.5, 0, None, None]
