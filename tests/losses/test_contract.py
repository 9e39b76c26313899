"""What every loss term of conf/loss promises."""

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from deblurlab.discriminators import Judgement
from deblurlab.losses import AdversarialTerm, JudgedTerm
from support import config, option_names

OFFLINE = {"vgg": ["loss.vgg.weights=random", "loss.vgg.layers=[relu1_2]"]}


def _build(name: str) -> nn.Module:
    arguments = OmegaConf.to_container(config(f"loss={name}", *OFFLINE.get(name, [])).loss[name], resolve=True)
    assert isinstance(arguments, dict)
    arguments.pop("weight")
    return instantiate(arguments)


TERMS = {name: _build(name) for name in option_names("loss")}
COMPARING = [name for name, term in TERMS.items() if not isinstance(term, JudgedTerm)]
JUDGED = [name for name, term in TERMS.items() if isinstance(term, JudgedTerm)]
ADVERSARIAL = [name for name, term in TERMS.items() if isinstance(term, AdversarialTerm)]


def _images(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _judgement(seed: int, maps: int = 2) -> tuple[Tensor, ...]:
    """Logit maps of several heads, as a discriminator gives them."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, 1, 3 + i, 4, generator=generator, dtype=torch.float64) for i in range(maps))


@pytest.mark.parametrize("name", COMPARING)
def test_it_is_zero_for_equal_images_and_positive_for_others(name: str) -> None:
    term = TERMS[name].double()
    image, other = _images(0, 2, 3, 16, 20), _images(1, 2, 3, 16, 20)
    assert term(image, image).item() == 0
    assert term(image, other).shape == ()
    assert term(image, other).item() > 0


@pytest.mark.parametrize("name", COMPARING)
def test_its_gradient_is_right(name: str) -> None:
    term, sharp = TERMS[name].double(), _images(1, 1, 3, 8, 8)
    assert torch.autograd.gradcheck(lambda x: term(x, sharp), _images(0, 1, 3, 8, 8).requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("name", JUDGED)
def test_the_gradient_of_the_generators_side_is_right(name: str) -> None:
    term = TERMS[name].double()
    real = Judgement(list(_judgement(1)), [])
    fake = tuple(logits.requires_grad_() for logits in _judgement(0))
    assert torch.autograd.gradcheck(lambda *maps: term.generator_loss(real, Judgement(list(maps), [])), fake)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_gradient_of_the_discriminators_side_is_right(name: str) -> None:
    term = TERMS[name].double()
    maps = tuple(logits.requires_grad_() for logits in (*_judgement(0), *_judgement(1)))
    assert torch.autograd.gradcheck(
        lambda *m: term.discriminator_loss(Judgement(list(m[:2]), []), Judgement(list(m[2:]), [])), maps
    )


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_each_side_is_happier_when_it_wins(name: str) -> None:
    term = TERMS[name]
    high, low = (Judgement([torch.full((1, 1, 2, 2), v)], []) for v in (3.0, -3.0))
    assert term.generator_loss(high, high) < term.generator_loss(high, low)
    assert term.discriminator_loss(high, low) < term.discriminator_loss(low, high)
