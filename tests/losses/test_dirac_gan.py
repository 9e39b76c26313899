"""Adversarial losses on the Dirac GAN, whose training dynamics are known in closed form.

The Dirac GAN (Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018, section 2): real
data is the number 0, the generator's output is the number theta, and the discriminator's logit of x is psi * x.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from deblurlab.discriminators import DiscriminatorOutput
from deblurlab.losses import Adv, AdversarialLoss, AdvHinge, AdvLS, AdvRaLS, AdvWGANGP


class DiracGAN(nn.Module):
    """Generator theta and discriminator psi; `forward` is the discriminator, psi times an image of one value."""

    def __init__(self, theta: float, psi: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))
        self.psi = nn.Parameter(torch.tensor(psi, dtype=torch.float64))

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput([self.psi * image], [])

    def negative_gradients(self, term: AdversarialLoss) -> tuple[float, float]:
        """Return the descent directions of generator and discriminator."""
        real, fake = torch.zeros(1, 1, 1, 1, dtype=torch.float64), self.theta.view(1, 1, 1, 1)
        loss = term.discriminator_loss(self(real, real), self(fake.detach(), real))
        penalty = term.penalty(self, real, fake.detach(), real)
        (psi,) = torch.autograd.grad(loss if penalty is None else loss + penalty, self.psi)
        loss = term.generator_loss(self(real, real), self(fake, real))
        (theta,) = torch.autograd.grad(loss, self.theta)
        return -theta.item(), -psi.item()


def _sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


Field = Callable[[float, float], tuple[float, float]]
FIELDS: list[tuple[str, AdversarialLoss, Field]] = [
    ("adv", Adv(), lambda t, p: (p * _sigmoid(-p * t), -t * _sigmoid(p * t) / 2)),
    ("adv with r1", Adv(r1=2.0), lambda t, p: (p * _sigmoid(-p * t), -t * _sigmoid(p * t) / 2 - 2 * p)),
    ("adv_ls", AdvLS(), lambda t, p: (-2 * p * (p * t - 1), -p * t * t)),
    ("adv_hinge", AdvHinge(), lambda t, p: (p, -t * (1 if p * t > -1 else 0))),
    ("adv_wgan_gp without penalty", AdvWGANGP(gradient_penalty=0.0), lambda t, p: (p, -t)),
    ("adv_wgan_gp", AdvWGANGP(), lambda t, p: (p, -t - 20 * (abs(p) - 1) * (1 if p > 0 else -1))),
    # Both means are the values themselves: half of (-p t - 1)^2 + (p t + 1)^2, and of the opposite.
    ("adv_ra_ls", AdvRaLS(), lambda t, p: (-2 * p * (p * t - 1), -2 * t * (p * t + 1))),
]


@pytest.mark.parametrize(("name", "term", "field"), FIELDS, ids=[name for name, *_ in FIELDS])
@pytest.mark.parametrize("theta", [-1.5, 0.4, 2.0])
@pytest.mark.parametrize("psi", [-0.8, 0.3, 1.7])
def test_gradients_equal_the_closed_form(
    name: str, term: AdversarialLoss, field: Field, theta: float, psi: float
) -> None:
    assert DiracGAN(theta, psi).negative_gradients(term) == pytest.approx(field(theta, psi), abs=1e-9)


def _train(term: AdversarialLoss, steps: int = 4000, rate: float = 0.02) -> list[float]:
    """Return distances from the equilibrium (0, 0) under alternating gradient descent, the discriminator first."""
    gan, distances = DiracGAN(1.0, 0.0), []
    for _ in range(steps):
        with torch.no_grad():
            for index, parameter in ((1, gan.psi), (0, gan.theta)):
                with torch.enable_grad():
                    step = gan.negative_gradients(term)[index]
                parameter += rate * step
        distances.append(math.hypot(gan.theta.item(), gan.psi.item()))
    return distances


@pytest.mark.parametrize("term", [AdvHinge(), AdvWGANGP(gradient_penalty=0.0)], ids=["hinge", "wgan"])
def test_linear_objectives_circle_around_the_equilibrium(term: AdversarialLoss) -> None:
    """Both eigenvalues are imaginary, and theta^2 + psi^2 is constant."""
    distances = _train(term, steps=1000)  # three turns
    assert distances == pytest.approx([1.0] * len(distances), abs=0.02)


@pytest.mark.slow
def test_non_saturating_objective_converges_with_the_root_of_time() -> None:
    """The eigenvalues are imaginary.

    With half the discriminator's gradient, theta^2 / 2 + psi^2 falls by theta psi tanh(theta psi / 2), of fourth order.
    """
    distances = _train(Adv(), steps=12000)
    maxima = [max(distances[end - 1000 : end]) for end in (3000, 6000, 12000)]
    assert maxima[1] / maxima[0] == pytest.approx(0.5**0.5, abs=0.06)
    assert maxima[2] / maxima[1] == pytest.approx(0.5**0.5, abs=0.06)


@pytest.mark.slow
def test_gradient_penalty_towards_norm_1_does_not_converge() -> None:
    """Lemma 2.7 and figure 3: the penalty keeps the discriminator's slope away from its equilibrium 0."""
    distances = _train(AdvWGANGP(gradient_penalty=1.0))
    assert min(distances[-1000:]) > 0.3


@pytest.mark.slow
def test_gradient_penalty_towards_0_at_real_data_converges() -> None:
    """Theorem 4.1."""
    distances = _train(Adv(r1=1.0))
    assert distances[-1] < 1e-4
