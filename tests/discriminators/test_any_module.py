"""Any module as a discriminator."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deblurlab.discriminators import DiscriminatorOutput, PatchGAN, as_discriminator
from deblurlab.errors import UserError
from deblurlab.losses.base import squared_gradient_norm

IMAGE, BLURRED = (torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in (0, 1))


class Returning(nn.Module):
    """Discriminator that returns what a function returns."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: Tensor, blurred: Tensor) -> Any:
        return self.function(image)


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda x: x[:, :1], [(2, 1, 8, 8)]),
        (lambda x: x.mean(dim=(1, 2, 3)), [(2,)]),
        (lambda x: [x[:, :1], x[:, :1, ::2]], [(2, 1, 8, 8), (2, 1, 4, 8)]),
        (lambda x: (x[:, :1], x[:, 1:2]), [(2, 1, 8, 8), (2, 1, 8, 8)]),
        (lambda x: DiscriminatorOutput(x[:, :1], [x]), [(2, 1, 8, 8)]),
    ],
)  # fmt: skip
def test_tensors_lists_and_tuples_become_an_output(function: Callable[..., Any], shapes: list[tuple[int, ...]]) -> None:
    output = as_discriminator(Returning(function))(IMAGE, BLURRED)
    assert isinstance(output, DiscriminatorOutput)
    assert [tuple(logits.shape) for logits in output.logits] == shapes
    found = function(IMAGE)
    expected = found if isinstance(found, list) or type(found) is tuple else [getattr(found, "logits", found)]
    assert all(torch.equal(a, b) for a, b in zip(output.logits, expected, strict=True))


def test_an_output_keeps_its_features() -> None:
    network = PatchGAN(n_layers=1, width=4)
    expected = network(IMAGE, BLURRED)
    output = as_discriminator(network)(IMAGE, BLURRED)
    assert all(torch.equal(a, b) for a, b in zip(output.features, expected.features, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(output.logits, expected.logits, strict=True))


class Conditional(nn.Module):
    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return x - condition


class Optional(nn.Module):
    def forward(self, x: Tensor, blurred: Tensor | None = None) -> Tensor:
        return x if blurred is None else x - blurred


class BlurredFirst(nn.Module):
    def forward(self, blurred: Tensor, image: Tensor) -> Tensor:
        return image - blurred


class KeywordOnly(nn.Module):
    def forward(self, image: Tensor, *, blurred: Tensor) -> Tensor:
        return image - blurred


class Flag(nn.Module):
    def forward(self, x: Tensor, with_features: bool = False) -> Tensor:
        assert not with_features
        return x


class Any2(nn.Module):
    def forward(self, *images: Tensor) -> Tensor:
        return images[0] - images[1]


@pytest.mark.parametrize("kind", [Conditional, Optional, BlurredFirst, KeywordOnly, Any2])
def test_a_network_with_an_argument_for_the_blurred_image_gets_it(kind: type[nn.Module]) -> None:
    assert torch.equal(as_discriminator(kind())(IMAGE, BLURRED).logits[0], IMAGE - BLURRED)


@pytest.mark.parametrize("kind", [Flag, nn.Identity, nn.Sequential])
def test_other_networks_get_the_image_alone(kind: type[nn.Module]) -> None:
    assert torch.equal(as_discriminator(kind())(IMAGE, BLURRED).logits[0], IMAGE)


def test_a_network_that_takes_the_blurred_image_alone_is_refused() -> None:
    class Alone(nn.Module):
        def forward(self, blurred: Tensor) -> Tensor:
            return blurred

    with pytest.raises(UserError, match="takes only blurred"):
        as_discriminator(Alone())


def test_repeated_calls_change_nothing() -> None:
    network = as_discriminator(as_discriminator(nn.Identity()))
    assert torch.equal(network(IMAGE, BLURRED).logits[0], IMAGE)
    for kind in (BlurredFirst, KeywordOnly):
        network = as_discriminator(as_discriminator(kind()))
        assert torch.equal(network(IMAGE, BLURRED).logits[0], IMAGE - BLURRED)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: {"logits": x}, "Returning returned dict of dict: it must return logits"),
        (lambda x: [[x], [x]], "Returning returned list of list"),
        (lambda x: [], "Returning returned list of nothing"),
        (lambda x: x.mean(), r"returned logits of shape \(\) for 2 images"),
        (lambda x: x.reshape(1, -1), r"returned logits of shape \(1, 384\) for 2 images"),
    ],
)  # fmt: skip
def test_other_outputs_are_one_line(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        as_discriminator(Returning(function))(IMAGE, BLURRED)
    assert "\n" not in str(caught.value)


def test_gradient_norms_of_a_linear_network_are_those_of_its_weights() -> None:
    """D(x) = w·x has the gradient w for every image."""
    linear = nn.Linear(192, 1)
    network = as_discriminator(nn.Sequential(nn.Flatten(), linear))
    norms = squared_gradient_norm(network, IMAGE, BLURRED)
    torch.testing.assert_close(norms, linear.weight.square().sum().expand(2))
    flat = as_discriminator(nn.Sequential(nn.Flatten(), linear, nn.Flatten(0)))
    torch.testing.assert_close(squared_gradient_norm(flat, IMAGE, BLURRED), norms)
