"""Modules without the base class as generators: padding, sizes that don't fit, cost."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deblurlab.errors import SizeError, UserError
from deblurlab.models import UNetRes
from deblurlab.models.base import run_generator
from deblurlab.models.cost import count_macs
from plain_models import Plain, Pyramid, Shrinking, Strided


@pytest.fixture
def image() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(2, 3, 21, 34)


@torch.no_grad()
def test_images_are_padded_by_reflection_and_cropped(image: Tensor) -> None:
    network = Strided()
    setattr(network, "multiple_of", 4)  # noqa: B010
    padded = np.pad(image.numpy(), ((0, 0), (0, 0), (0, 3), (0, 2)), mode="reflect")
    assert torch.equal(run_generator(network, image), network(torch.from_numpy(padded))[..., :21, :34])
    fitting = image[..., :20, :32]
    assert torch.equal(run_generator(network, fitting), network(fitting))


@torch.no_grad()
def test_all_scales_are_cropped(image: Tensor) -> None:
    half, full = run_generator(Pyramid(), image)
    assert (half.shape, full.shape) == ((2, 3, 11, 17), image.shape)


@torch.no_grad()
def test_a_model_pads_itself(image: Tensor) -> None:
    model = UNetRes(width=4, depth=2, blocks=1)
    assert torch.equal(run_generator(model, image), model(image))


def test_a_size_that_does_not_fit_is_named(image: Tensor) -> None:
    with torch.no_grad(), pytest.raises(SizeError) as caught:
        run_generator(Strided(), image)
    cause, _, remedy = str(caught.value).partition("; ")
    assert cause.startswith("Strided can't restore an image of 34x21 pixels, multiple_of=1: The size of tensor ")
    assert remedy == (
        "if its sides must be multiples of a number, set that as model.multiple_of or as the class's multiple_of"
    )
    assert isinstance(caught.value, UserError)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    network = Shrinking()
    setattr(network, "multiple_of", 2)  # noqa: B010
    # 34x21 is padded to 34x22.
    with pytest.raises(
        SizeError, match=r"34x21 pixels, multiple_of=2: it returns 2x3x20x32 for 2x3x22x34; if its sides"
    ):
        run_generator(network, image)


def test_in_training_the_error_is_that_of_the_network(image: Tensor) -> None:
    with pytest.raises(RuntimeError, match="The size of tensor"):
        run_generator(Strided(), image)


class OnCPU(nn.Module):
    """Convolution with a tensor that isn't moved with the module."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)
        self.scale = [torch.ones(3, 1, 1)]

    def forward(self, blurred: Tensor) -> Tensor:
        return self.layer(blurred) * self.scale[0]


@pytest.mark.parametrize("kind", [Plain, OnCPU])
def test_operations_are_counted_by_hand(kind: type[nn.Module]) -> None:
    network = kind().train()
    assert count_macs(network) == 256 * 256 * 3 * 3 * 9
    assert network.training
    assert network.layer.weight.device.type == "cpu"


def test_a_size_that_cannot_be_counted_is_named() -> None:
    with pytest.raises(SizeError, match="Strided can't restore an image of 255x255 pixels"):
        count_macs(Strided(), 255)


@pytest.mark.parametrize("result", [None, [], {"restored": torch.zeros(1)}, ["x"]])
def test_another_result_than_tensors_is_named(image: Tensor, result: object) -> None:
    class Own(nn.Module):
        def forward(self, blurred: Tensor) -> object:
            return result

    with pytest.raises(UserError, match="Own returned .*: a generator returns a tensor, or a list of them"):
        run_generator(Own(), image)
