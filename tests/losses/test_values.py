"""Loss terms against values computed by hand."""

import math

import pytest
import torch

from deblurlab.discriminators import Judgement
from deblurlab.losses import L1, MSE, Adv


def _judgement(*values: float) -> Judgement:
    """One head per value, its map full of it; the heads differ in size."""
    return Judgement([torch.full((2, 1, i, 3), value) for i, value in enumerate(values, start=1)], [])


def test_pixel_terms() -> None:
    restored = torch.zeros(1, 3, 2, 2)
    sharp = torch.zeros(1, 3, 2, 2)
    sharp[0, 0, 0, 0], sharp[0, 1, 1, 1] = 0.6, -0.9
    assert L1()(restored, sharp).item() == pytest.approx(1.5 / 12)
    assert MSE()(restored, sharp).item() == pytest.approx((0.36 + 0.81) / 12)


def test_adversarial_loss_is_cross_entropy_of_both_sides() -> None:
    def cross_entropy(logit: float, label: int) -> float:
        probability = 1 / (1 + math.exp(-logit))
        return -math.log(probability if label else 1 - probability)

    term, real, fake = Adv(), _judgement(0.5, 2.0), _judgement(-1.0, 1.5)
    generator = (cross_entropy(-1.0, 1) + cross_entropy(1.5, 1)) / 2
    first = (cross_entropy(0.5, 1) + cross_entropy(-1.0, 0)) / 2
    second = (cross_entropy(2.0, 1) + cross_entropy(1.5, 0)) / 2
    assert term.generator_loss(None, fake).item() == pytest.approx(generator)
    assert term.discriminator_loss(real, fake).item() == pytest.approx((first + second) / 2)


def test_adversarial_loss_of_an_undecided_discriminator_is_log_2() -> None:
    undecided = _judgement(0.0)
    assert Adv().generator_loss(None, undecided).item() == pytest.approx(math.log(2))
    assert Adv().discriminator_loss(undecided, undecided).item() == pytest.approx(math.log(2))


def test_adversarial_loss_stays_finite_where_a_probability_would_not() -> None:
    certain = _judgement(-500.0)
    assert Adv().generator_loss(None, certain).item() == pytest.approx(500.0)
