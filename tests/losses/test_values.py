"""Loss terms against values computed by hand."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from deblurlab.discriminators import DiscriminatorOutput, PatchGAN
from deblurlab.losses import (
    FFT,
    L1,
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
    Edge,
    FeatureMatching,
    FocalFrequency,
)


def _output(*values: float) -> DiscriminatorOutput:
    """Return an output with one head per value, whose logits all have that value; the heads differ in size."""
    return DiscriminatorOutput([torch.full((2, 1, i, 3), value) for i, value in enumerate(values, start=1)], [])


def test_pixel_losses_by_hand() -> None:
    restored = torch.zeros(1, 3, 2, 2)
    sharp = torch.zeros(1, 3, 2, 2)
    sharp[0, 0, 0, 0], sharp[0, 1, 1, 1] = 0.6, -0.9
    assert L1()(restored, sharp).item() == pytest.approx(1.5 / 12)
    assert MSE()(restored, sharp).item() == pytest.approx((0.36 + 0.81) / 12)


def test_adversarial_loss_is_the_cross_entropy_of_both_labels() -> None:
    def cross_entropy(logit: float, label: int) -> float:
        probability = 1 / (1 + math.exp(-logit))
        return -math.log(probability if label else 1 - probability)

    term, real, fake = Adv(), _output(0.5, 2.0), _output(-1.0, 1.5)
    generator = (cross_entropy(-1.0, 1) + cross_entropy(1.5, 1)) / 2
    first = (cross_entropy(0.5, 1) + cross_entropy(-1.0, 0)) / 2
    second = (cross_entropy(2.0, 1) + cross_entropy(1.5, 0)) / 2
    assert term.generator_loss(None, fake).item() == pytest.approx(generator)
    assert term.discriminator_loss(real, fake).item() == pytest.approx((first + second) / 2)


def test_adversarial_loss_of_an_undecided_discriminator_is_log_2() -> None:
    undecided = _output(0.0)
    assert Adv().generator_loss(None, undecided).item() == pytest.approx(math.log(2))
    assert Adv().discriminator_loss(undecided, undecided).item() == pytest.approx(math.log(2))


def test_adversarial_loss_is_finite_for_extreme_logits() -> None:
    certain = _output(-500.0)
    assert Adv().generator_loss(None, certain).item() == pytest.approx(500.0)


def test_least_squares_by_hand() -> None:
    term, real, fake = AdvLS(), _output(0.5, 2.0), _output(-1.0, 1.5)
    assert term.generator_loss(None, fake).item() == pytest.approx((2.0**2 + 0.5**2) / 2)
    first, second = (0.5**2 + 1.0**2) / 2, (1.0**2 + 1.5**2) / 2
    assert term.discriminator_loss(real, fake).item() == pytest.approx((first + second) / 2)


def test_hinge_by_hand() -> None:
    term, real, fake = AdvHinge(), _output(0.5, 2.0), _output(-1.5, 1.5)
    assert term.generator_loss(None, fake).item() == pytest.approx((1.5 - 1.5) / 2)
    assert term.discriminator_loss(real, fake).item() == pytest.approx(((0.5 + 0.0) + (0.0 + 2.5)) / 2)


def test_wasserstein_by_hand() -> None:
    term, real, fake = AdvWGANGP(), _output(0.5, 2.0), _output(-1.0, 1.5)
    assert term.generator_loss(None, fake).item() == pytest.approx((1.0 - 1.5) / 2)
    assert term.discriminator_loss(real, fake).item() == pytest.approx(((-1.0 - 0.5) + (1.5 - 2.0)) / 2)


def test_relativistic_average_by_hand() -> None:
    """Two patches each: sharp 1 and 3, restored -1 and 0."""
    real, fake = (
        DiscriminatorOutput([torch.tensor(values).view(1, 1, 1, 2)], []) for values in ([1.0, 3.0], [-1.0, 0.0])
    )
    # The means are 2 and -0.5.
    discriminator = ((1.5 - 1) ** 2 + (3.5 - 1) ** 2) / 2 + ((-3 + 1) ** 2 + (-2 + 1) ** 2) / 2
    generator = ((-3 - 1) ** 2 + (-2 - 1) ** 2) / 2 + ((1.5 + 1) ** 2 + (3.5 + 1) ** 2) / 2
    assert AdvRaLS().discriminator_loss(real, fake).item() == pytest.approx(discriminator / 2)
    assert AdvRaLS().generator_loss(real, fake).item() == pytest.approx(generator / 2)


def test_relativistic_average_uses_the_history_if_there_is_one() -> None:
    real, fake = (
        _output(1.0)._replace(history=[torch.tensor(5.0)]),
        _output(0.0)._replace(history=[torch.tensor(2.0)]),
    )
    assert AdvRaLS().discriminator_loss(real, fake).item() == pytest.approx(((1 - 2 - 1) ** 2 + (0 - 5 + 1) ** 2) / 2)


class Linear(nn.Module):
    """Critic with a known gradient: sum(slope · image), in two heads that differ by a constant."""

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.slope = nn.Parameter(slope)

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        value = (image * self.slope).sum(dim=(1, 2, 3)).view(-1, 1, 1, 1)
        return DiscriminatorOutput([value, value + 7], [])


def test_gradient_penalties_of_a_linear_critic() -> None:
    """The gradient is the slope for every image; its norm is over the whole sample, not per channel."""
    slope = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    critic = Linear(slope)
    sharp, restored, blurred = torch.rand(3, 2, 3, 4, 5, dtype=torch.float64)
    norm = slope.norm()
    penalty = AdvWGANGP(gradient_penalty=10.0).penalty(critic, sharp, restored, blurred)
    torch.testing.assert_close(penalty, 10 * (norm - 1) ** 2)
    penalty.backward()
    torch.testing.assert_close(critic.slope.grad, 20 * (norm - 1) * slope / norm)
    torch.testing.assert_close(Adv(r1=10.0).penalty(critic, sharp, restored, blurred), 5 * norm**2)
    assert Adv().penalty(critic, sharp, restored, blurred) is None
    assert AdvLS().penalty(critic, sharp, restored, blurred) is None


def test_penalties_of_compiled_and_eager_discriminators_are_equal() -> None:
    torch.manual_seed(0)
    discriminator = PatchGAN(n_layers=1, width=4)
    sharp, restored, blurred = torch.rand(3, 2, 3, 32, 32)
    eager = Adv(r1=1.0).penalty(discriminator, sharp, restored, blurred)
    discriminator.compile(backend="aot_eager")
    discriminator(sharp, blurred)
    compiled = Adv(r1=1.0).penalty(discriminator, sharp, restored, blurred)
    torch.testing.assert_close(compiled, eager)
    compiled.backward()  # the second derivative


class Quadratic(nn.Module):
    """Half the squared norm of an image; the gradient is the image itself."""

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput([image.square().sum(dim=(1, 2, 3)).view(-1, 1, 1, 1) / 2], [])


def test_gradient_penalty_interpolates_each_sample_independently() -> None:
    """Sharp images are 0, restored ones 2: the norm at an interpolation is uniform between 0 and 2."""
    torch.manual_seed(0)
    restored = torch.zeros(4000, 3, 1, 1, dtype=torch.float64)
    restored[:, 0] = 2.0
    penalty = AdvWGANGP(gradient_penalty=1.0).penalty(Quadratic(), torch.zeros_like(restored), restored, restored)
    assert penalty.item() == pytest.approx(1 / 3, abs=0.02)  # the mean of (2 u - 1)^2


def test_feature_matching_by_hand() -> None:
    real = DiscriminatorOutput([], [torch.zeros(1, 2, 2, 2), torch.zeros(1, 1, 3, 3)])
    fake = DiscriminatorOutput([], [torch.full((1, 2, 2, 2), 0.5), torch.full((1, 1, 3, 3), -2.0)])
    assert FeatureMatching().generator_loss(real, fake).item() == pytest.approx((0.5 + 2.0) / 2)


def _shifted(difference: float, *shape: int) -> tuple[Tensor, Tensor]:
    """Return two images that differ by a constant."""
    sharp = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return sharp + difference, sharp


def test_charbonnier_by_hand() -> None:
    assert Charbonnier(epsilon=0.4)(*_shifted(0.3, 1, 3, 4, 4)).item() == pytest.approx(0.5 - 0.4)
    assert Charbonnier()(*_shifted(0.001, 1, 3, 4, 4)).item() == pytest.approx(0.001 * (math.sqrt(2) - 1))


def test_psnr_is_the_metric_up_to_a_constant() -> None:
    restored, sharp = _shifted(0.1, 2, 3, 4, 4)
    assert PSNR()(restored, sharp).item() == pytest.approx(80 - 20, abs=1e-4)  # PSNR is 20 dB; epsilon is at 80 dB
    mixed = torch.cat([restored, sharp[:1] + 0.01])
    expected = (60 + 60 + 40) / 3
    assert PSNR()(mixed, torch.cat([sharp, sharp[:1]])).item() == pytest.approx(expected, abs=1e-3)


def test_edges_by_hand() -> None:
    """A difference of 0.5 in one pixel has Laplacian -2 there and 0.5 at its neighbours; that of a ramp is 0."""
    sharp = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    restored = sharp.clone()
    restored[0, 0, 2, 2] = 0.5
    assert Edge(epsilon=1e-9)(restored, sharp).item() == pytest.approx((2 + 4 * 0.5) / 9)
    exact = (math.hypot(2, 1e-3) + 4 * math.hypot(0.5, 1e-3) + 4 * 1e-3) / 9 - 1e-3
    assert Edge()(restored, sharp).item() == pytest.approx(exact, rel=1e-12)
    ramp = torch.arange(5, dtype=torch.float64).expand(1, 1, 5, 5)
    assert Edge(epsilon=1e-9)(ramp, sharp).item() == pytest.approx(0, abs=1e-12)


def test_total_variation_by_hand() -> None:
    image = torch.tensor([[0.0, 1.0, 0.5], [0.0, 0.0, 0.5]], dtype=torch.float64).view(1, 1, 2, 3)
    assert TV()(image, image).item() == pytest.approx((0 + 1 + 0) / 3 + (1 + 0.5 + 0 + 0.5) / 4)


def test_spectra_by_hand() -> None:
    """A constant difference has one frequency; that of a single pixel has all frequencies with equal magnitude."""
    restored, sharp = _shifted(0.1, 1, 1, 4, 8)
    assert FFT(norm="backward")(restored, sharp).item() == pytest.approx(0.1 * 32 / 64)
    assert FFT()(restored, sharp).item() == pytest.approx(0.1 * 32 / 64 / math.sqrt(32))
    one = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    one[0, 0, 0, 0] = 1.0
    assert FFT(norm="backward")(one, torch.zeros_like(one)).item() == pytest.approx(16 / 32)
    assert FocalFrequency()(one, torch.zeros_like(one)).item() == pytest.approx(1 / 16)  # Parseval; all weights are 1
    assert FocalFrequency()(restored, sharp).item() == pytest.approx(0.1**2)  # one frequency, with weight 1
    two = torch.cat([restored, sharp + 0.2], dim=1)  # each channel has its own maximum
    assert FocalFrequency()(two, sharp.expand(1, 2, 4, 8)).item() == pytest.approx((0.1**2 + 0.2**2) / 2)
    assert FocalFrequency(alpha=0)(one, one + restored[..., :4]).item() == pytest.approx(
        restored[..., :4].square().mean()
    )


def test_gradient_of_focal_frequency_treats_weights_as_constants() -> None:
    restored, sharp = torch.rand(2, 1, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    restored.requires_grad_()
    FocalFrequency(alpha=2.0)(restored, sharp).backward()
    difference = torch.fft.fft2((restored - sharp).detach(), norm="ortho")
    expected = difference.abs().pow(3).mean() / difference.abs().max()
    torch.testing.assert_close(FocalFrequency()(restored, sharp).detach(), expected)
    power = difference.abs().square()
    # The gradient of the mean of w |F(r - s)|^2 for a fixed w is 2 / N times the inverse transform of w F(r - s).
    expected = 2 / 16 * torch.fft.ifft2(power / power.max() * difference, norm="ortho").real
    torch.testing.assert_close(restored.grad, expected)


@pytest.mark.parametrize("term", [SSIM(), MSSSIM(sigma=0.3), FFT(), FocalFrequency()])
def test_terms_that_need_float32_have_it_under_autocast(term: nn.Module) -> None:
    restored, sharp = torch.rand(2, 1, 3, 48, 48)
    restored = restored.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = term(restored, sharp)
    assert value.item() == pytest.approx(term(restored.double(), sharp.double()).item(), rel=1e-4)


def test_penalties_have_float32_under_autocast() -> None:
    discriminator = PatchGAN(n_layers=1, width=4)
    sharp, restored, blurred = torch.rand(3, 2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        value = Adv(r1=1.0).penalty(discriminator, sharp, restored, blurred)
    exact = Adv(r1=1.0).penalty(discriminator.double(), sharp.double(), restored.double(), blurred.double())
    assert value.item() == pytest.approx(exact.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FFT(norm="foo"), "unknown norm 'foo': ortho or backward"),  # type: ignore[arg-type]
        (lambda: SSIM(sigma=0), "sigma is 0"),
        (lambda: MSSSIM(sigma=0), "sigma is 0"),
        (lambda: Charbonnier(epsilon=0), "epsilon is 0"),
        (lambda: Edge(epsilon=0), "epsilon is 0"),
        (lambda: PSNR(epsilon=0), "epsilon is 0"),
        (lambda: FocalFrequency(alpha=-1), "alpha is -1"),
    ],
)
def test_invalid_arguments_are_refused(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
