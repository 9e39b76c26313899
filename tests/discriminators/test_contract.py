"""What every discriminator of conf/discriminator promises."""

import pytest
import torch
from hydra.utils import instantiate

from deblurlab.discriminators import Discriminator
from support import config, option_names


@pytest.fixture(params=option_names("discriminator"))
def discriminator(request: pytest.FixtureRequest) -> Discriminator:
    torch.manual_seed(0)
    return instantiate(config(f"discriminator={request.param}").discriminator, _convert_="all")


def test_it_gives_lists_of_logits_and_features(discriminator: Discriminator) -> None:
    image = torch.rand(2, 3, 96, 80)
    judgement = discriminator(image, torch.rand_like(image))
    assert judgement.logits
    assert judgement.features
    assert all(logits.ndim == 4 and logits.shape[:2] == (2, 1) for logits in judgement.logits)
    assert all(features.ndim == 4 and len(features) == 2 for features in judgement.features)


def test_the_smallest_size_works_and_odd_ones_do(discriminator: Discriminator) -> None:
    for height, width in ((discriminator.min_size,) * 2, (discriminator.min_size + 5, discriminator.min_size + 38)):
        image = torch.rand(1, 3, height, width)
        assert all(logits.isfinite().all() for logits in discriminator(image, image).logits)


def test_every_parameter_and_the_image_get_a_gradient(discriminator: Discriminator) -> None:
    image = torch.rand(1, 3, 96, 96, requires_grad=True)
    sum(logits.square().sum() for logits in discriminator(image, torch.rand(1, 3, 96, 96)).logits).backward()
    # A bias before an instance norm has none in theory and rounding in practice.
    silent = [name for name, p in discriminator.named_parameters() if p.grad is None]
    assert silent == []
    assert image.grad is not None
    assert image.grad.any()
