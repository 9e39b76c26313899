"""Contract tests of every discriminator in conf/discriminator."""

from copy import deepcopy

import pytest
import torch

from deblurlab.config import instantiate
from deblurlab.discriminators import Discriminator
from support import config, option_names


@pytest.fixture(scope="module", params=option_names("discriminator"))
def pristine(request: pytest.FixtureRequest) -> Discriminator:
    torch.manual_seed(0)
    return instantiate(config(f"discriminator={request.param}", "discriminator.width=4").discriminator)


@pytest.fixture
def discriminator(pristine: Discriminator) -> Discriminator:
    torch.manual_seed(0)
    return deepcopy(pristine)


def test_output_has_lists_of_logits_and_features(discriminator: Discriminator) -> None:
    image = torch.rand(2, 3, 96, 80)
    output = discriminator(image, torch.rand_like(image))
    assert output.logits
    assert output.features
    assert all(logits.ndim == 4 and logits.shape[:2] == (2, 1) for logits in output.logits)
    assert all(features.ndim == 4 and len(features) == 2 for features in output.features)


def test_minimum_and_odd_sizes_work(discriminator: Discriminator) -> None:
    for height, width in ((discriminator.min_size,) * 2, (discriminator.min_size + 5, discriminator.min_size + 38)):
        image = torch.rand(1, 3, height, width)
        assert all(logits.isfinite().all() for logits in discriminator(image, image).logits)


def test_gradient_reaches_every_parameter_and_the_image(discriminator: Discriminator) -> None:
    image = torch.rand(1, 3, 96, 96, requires_grad=True)
    sum(logits.square().sum() for logits in discriminator(image, torch.rand(1, 3, 96, 96)).logits).backward()
    # The gradient of a bias before instance norm is 0 in theory, rounding errors in practice.
    without_gradient = [name for name, p in discriminator.named_parameters() if p.grad is None]
    assert without_gradient == []
    assert image.grad is not None
    assert image.grad.any()
