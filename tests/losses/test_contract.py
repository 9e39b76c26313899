"""Contract tests of every loss term in conf/loss."""

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from deblurlab.config import instantiate
from deblurlab.discriminators import DiscriminatorOutput
from deblurlab.losses import AdversarialLoss, DiscriminatorLoss
from support import config, option_names

SMALL = {
    "vgg": ["loss.vgg.weights=random", "loss.vgg.layers=[relu1_2]"],
    "lpips": ["loss.lpips.weights=random"],
    "ms_ssim": ["loss.ms_ssim.sigma=0.3"],
}
"""Overrides that need no download and accept small images."""


def _build(name: str) -> nn.Module:
    arguments = OmegaConf.to_container(config(f"loss={name}", *SMALL.get(name, [])).loss[name], resolve=True)
    assert isinstance(arguments, dict)
    arguments.pop("weight")
    return instantiate(arguments)


TERMS = {name: _build(name) for name in option_names("loss")}
COMPARING = [name for name, term in TERMS.items() if not isinstance(term, DiscriminatorLoss)]
DISCRIMINATOR_LOSSES = [name for name, term in TERMS.items() if isinstance(term, DiscriminatorLoss)]
ADVERSARIAL = [name for name, term in TERMS.items() if isinstance(term, AdversarialLoss)]


def _images(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _ignores_sharp(term: nn.Module) -> bool:
    """Return whether the term is a regulariser."""
    image = _images(0, 1, 3, 48, 48)
    return torch.equal(term(image, _images(1, 1, 3, 48, 48)), term(image, _images(2, 1, 3, 48, 48)))


REGULARISERS = [name for name in COMPARING if _ignores_sharp(TERMS[name].double())]


def _logits(seed: int, maps: int = 2) -> tuple[Tensor, ...]:
    """Return random logits of several heads, which also serve as features."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, 1, 3 + i, 4, generator=generator, dtype=torch.float64) for i in range(maps))


def _side(name: str) -> int:
    return getattr(TERMS[name], "min_size", 1)


@pytest.mark.parametrize("name", [name for name in COMPARING if name not in REGULARISERS])
def test_term_is_zero_for_equal_images_and_positive_for_others(name: str) -> None:
    term, side = TERMS[name].double(), max(16, _side(name))
    image, other = _images(0, 2, 3, side, side + 4), _images(1, 2, 3, side, side + 4)
    assert term(image, image).item() == pytest.approx(0, abs=1e-9)
    assert term(image, other).shape == ()
    assert term(image, other).item() > 1e-6


@pytest.mark.parametrize("name", REGULARISERS)
def test_regulariser_is_zero_for_a_constant_image(name: str) -> None:
    assert getattr(TERMS[name], "compares", "pair") == "set"  # a term that compares pairs uses the sharp image
    constant = torch.full((1, 3, 16, 16), 0.3).double()
    assert TERMS[name](constant, _images(0, 1, 3, 16, 16)).item() == 0


@pytest.mark.parametrize("name", COMPARING)
def test_half_precision_changes_little(name: str) -> None:
    """The images are smooth and nearly equal, so that cancellation of large numbers would show."""
    term, side = _build(name), 4 * max(16, _side(name))
    ramp = torch.linspace(0.2, 0.9, side).expand(1, 3, side, side)
    sharp = (ramp + 0.1 * _images(1, 1, 3, side, side)).float()
    # The inputs are the same rounded images, so that only the arithmetic differs.
    restored = (sharp + 0.02 * _images(0, 1, 3, side, side)).bfloat16()
    values, gradients = [], []
    for enabled in (False, True):
        image = restored.clone().requires_grad_() if enabled else restored.float().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = term(image, sharp)
        value.backward()
        values.append(value.item())
        gradients.append(image.grad.float().flatten())
    assert values[1] == pytest.approx(values[0], rel=0.05)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.97


WITH_STOPPED_GRADIENT = ["focal_frequency"]
"""Terms with a detached factor; test_values.py checks their gradient."""


@pytest.mark.parametrize("name", [name for name in COMPARING if name not in WITH_STOPPED_GRADIENT])
def test_gradient_is_the_numerical_one(name: str) -> None:
    term, side = TERMS[name].double(), max(8, _side(name))
    restored, sharp = _images(0, 1, 3, side, side).requires_grad_(), _images(1, 1, 3, side, side)
    assert torch.autograd.gradcheck(lambda x: term(x, sharp), restored, fast_mode=True)


@pytest.mark.parametrize("name", DISCRIMINATOR_LOSSES)
def test_gradient_of_the_generator_loss_is_the_numerical_one(name: str) -> None:
    term = TERMS[name].double()
    real = DiscriminatorOutput(list(_logits(1)), list(_logits(1)))
    fake = tuple(logits.requires_grad_() for logits in _logits(0))
    assert torch.autograd.gradcheck(lambda *m: term.generator_loss(real, DiscriminatorOutput(list(m), list(m))), fake)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_gradient_of_the_discriminator_loss_is_the_numerical_one(name: str) -> None:
    term = TERMS[name].double()
    maps = tuple(logits.requires_grad_() for logits in (*_logits(0), *_logits(1)))
    assert torch.autograd.gradcheck(
        lambda *m: term.discriminator_loss(DiscriminatorOutput(list(m[:2]), []), DiscriminatorOutput(list(m[2:]), [])),
        maps,
    )


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_losses_fall_when_the_logits_favour_their_network(name: str) -> None:
    term = TERMS[name]
    high, low = (DiscriminatorOutput([torch.full((1, 1, 2, 2), v)], []) for v in (3.0, -3.0))
    assert term.generator_loss(high, high) < term.generator_loss(high, low)
    assert term.discriminator_loss(high, low) < term.discriminator_loss(low, high)


@pytest.mark.parametrize("name", DISCRIMINATOR_LOSSES)
def test_the_output_on_sharp_images_is_needed_exactly_if_the_term_says_so(name: str) -> None:
    term, fake = TERMS[name], DiscriminatorOutput([*_logits(0)], [*_logits(0)])
    first, second = (term.generator_loss(DiscriminatorOutput([*_logits(i)], [*_logits(i)]), fake) for i in (1, 2))
    assert term.generator_needs_real != torch.equal(first, second)
    if not term.generator_needs_real:
        assert torch.equal(term.generator_loss(None, fake), first)


@pytest.mark.parametrize("name", [name for name in ADVERSARIAL if TERMS[name].boundary is not None])
def test_the_boundary_is_the_best_logit_for_images_that_may_be_either(name: str) -> None:
    logits = torch.full((1, 1, 2, 2), TERMS[name].boundary, dtype=torch.float64, requires_grad=True)
    output = DiscriminatorOutput([logits], [])
    TERMS[name].discriminator_loss(output, output).backward()
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("name", COMPARING)
def test_terms_accept_images_of_their_minimum_size(name: str) -> None:
    term, side = TERMS[name].double(), _side(name)
    value = term(_images(0, 1, 3, side, side), _images(1, 1, 3, side, side))
    assert 0 < value.item() < float("inf")
