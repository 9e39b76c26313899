"""What every model of conf/model promises."""

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from deblurlab.models import Model
from support import config, option_names

NAMES = option_names("model")
SHRUNK = {"unet": ["model.width=4"], "unet_res": ["model.width=4"]}
"""The same code in small."""


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> Model:
    torch.manual_seed(0)
    made = instantiate(config(f"model={request.param}", *SHRUNK.get(request.param, [])).model, _convert_="all")
    # Zero-initialised layers would hide what lies behind them.
    for parameter in made.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return made


@pytest.mark.parametrize("size", [(64, 64), (37, 50), (33, 65), (61, 99), (9, 128)])
def test_any_size_keeps_its_shape(model: Model, size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size)
    assert model(image).shape == image.shape


def test_the_smallest_size_works(model: Model) -> None:
    image = torch.rand(1, 3, model.min_size, model.min_size)
    assert model(image).isfinite().all()


def test_padding_changes_nothing_where_none_is_needed(model: Model) -> None:
    side = 8 * model.multiple_of
    image = torch.rand(1, 3, side, side)
    assert torch.equal(model(image), model.restore(image))


def test_every_parameter_gets_a_gradient(model: Model) -> None:
    model(torch.rand(1, 3, 64, 64)).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_evaluation_is_deterministic_and_samples_dont_mix(model: Model) -> None:
    model.eval()
    images = torch.rand(3, 3, 40, 48)
    with torch.no_grad():
        together = model(images)
        assert torch.equal(together, model(images))
        apart = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, apart)


def test_a_state_dict_makes_an_equal_model(model: Model) -> None:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    image = torch.rand(1, 3, 32, 32)
    before = model.eval()(image)
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    model.load_state_dict(state)
    assert torch.equal(model(image), before)


def test_bfloat16_stays_close(model: Model) -> None:
    model.eval()
    image = torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        exact = model(image)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(image)
    assert (exact - rough).abs().max() < 0.05 * exact.abs().max()


def test_it_can_be_exported(model: Model) -> None:
    image = torch.rand(1, 3, 40, 40)
    program = torch.export.export(model.eval(), (image,))
    torch.testing.assert_close(program.module()(image), model(image))
