"""Contract tests of every model in conf/model."""

from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from torch import nn

from deblurlab.config import find_target, instantiate, to_plain
from deblurlab.config.networks import network_node
from deblurlab.models import Model
from deblurlab.models.blocks import ImageBatchNorm2d
from deblurlab.models.cost import count_parameters
from support import config, option_names, small


def _names() -> list[str]:
    """Return every option, and one of each class with the arguments of its original code, marked by "original"."""
    classes = {find_target(config(f"model={name}").model): name for name in option_names("model")}
    return [*option_names("model"), *(f"{name} original" for kind, name in classes.items() if kind.original_arguments)]


@pytest.fixture(scope="module", params=_names())
def pristine(request: pytest.FixtureRequest) -> Model:
    """Return a small model, which the tests copy: composing the config and building it take longer than most tests."""
    torch.manual_seed(0)
    name, _, original = request.param.partition(" ")
    chosen = f"model={name}"
    overrides = [override for override in small(chosen) if override.startswith("model.")]
    node = to_plain(config(chosen, *overrides).model)
    network = instantiate(network_node({**node, **(find_target(node).original_arguments if original else {})}))
    # A zero-initialised layer would block the gradient and hide the layers before it.
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network


def test_a_small_model_is_smaller(request: pytest.FixtureRequest, pristine: Model) -> None:
    """Each class declares `small_arguments`, so that tests of its options are fast."""
    name = request.node.callspec.params["pristine"].removesuffix(" original")
    with torch.device("meta"):
        full = instantiate(config(f"model={name}").model)
    assert count_parameters(pristine) < count_parameters(full)


@pytest.fixture
def model(pristine: Model) -> Model:
    torch.manual_seed(0)
    return deepcopy(pristine)


def _restore(model: Model, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(image)


@pytest.mark.parametrize("size", [(64, 64), (37, 50), (33, 65), (61, 99), (9, 128)])
def test_output_has_the_size_of_the_input(model: Model, size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size)
    assert _restore(model, image).shape == image.shape


def test_training_mode_returns_scales_coarse_to_fine(model: Model) -> None:
    image = torch.rand(2, 3, 70, 90)
    restored = model.train()(image)
    scales = [restored] if isinstance(restored, torch.Tensor) else restored
    assert scales[-1].shape == image.shape
    for scale, finer in pairwise(scales):
        assert scale.shape[-2:] == tuple(-(-side // 2) for side in finer.shape[-2:])


def test_min_size_is_restored(model: Model) -> None:
    image = torch.rand(1, 3, model.min_size, model.min_size)
    assert _restore(model, image).isfinite().all()
    assert model.min_size % model.multiple_of == 0 or model.min_size == 1


def test_valid_sizes_are_not_padded(model: Model) -> None:
    model.always_pad = False
    side = max(model.min_size, 4 * model.multiple_of)
    image = torch.rand(1, 3, side, side)
    restored = _restore(model, image)
    with torch.no_grad():
        assert torch.equal(restored, model.restore(image))


def test_every_parameter_receives_a_gradient(model: Model) -> None:
    restored = model.train()(torch.rand(2, 3, 128, 128))
    scales = [restored] if isinstance(restored, torch.Tensor) else restored
    torch.stack([scale.square().sum() for scale in scales]).sum().backward()
    without_gradient = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without_gradient == []


def test_evaluation_is_deterministic_and_independent_of_the_batch(model: Model) -> None:
    model.double().eval()  # statistics of few pixels amplify rounding errors
    images = torch.rand(3, 3, 40, 48, dtype=torch.float64)
    with torch.no_grad():
        batch = model(images)
        assert torch.equal(batch, model(images))
        single = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(batch, single)


def test_loading_a_state_dict_restores_the_output(model: Model) -> None:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    image = torch.rand(1, 3, 32, 32)
    before = _restore(model, image)
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    model.load_state_dict(state)
    assert torch.equal(_restore(model, image), before)


def test_bfloat16_is_close_to_float32(model: Model) -> None:
    model.eval()
    image = torch.rand(1, 3, 48, 48)
    # Statistics of the four pixels at the coarsest scale amplify rounding errors, those in training mode as well.
    tolerance = 0.1 if any(isinstance(layer, ImageBatchNorm2d) for layer in model.modules()) else 0.03
    with torch.no_grad():
        exact = model(image)
        with torch.autocast("cpu", torch.bfloat16):
            low_precision = model(image)
    assert (exact - low_precision).abs().mean() < tolerance * exact.abs().mean()


def test_torch_export(model: Model) -> None:
    image = torch.rand(1, 3, 40, 40)
    program = torch.export.export(model.eval(), (image,))
    torch.testing.assert_close(program.module()(image), model(image))
