"""Padding of images to sizes that a network accepts."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deblurlab.models import Model
from deblurlab.models.base import run_generator
from deblurlab.models.padding import MODES, Padding, PaddingMode, padding_of, set_attributes

NUMPY = {
    "reflect": {"mode": "reflect"},
    "replicate": {"mode": "edge"},
    "zeros": {"mode": "constant", "constant_values": 0},
    "grey": {"mode": "constant", "constant_values": 0.5},
}
"""Each mode as an argument of `np.pad`."""


def _padded(image: Tensor, height: int, width: int, mode: str) -> Tensor:
    ends = (0, 0), (0, 0), (0, height - image.shape[2]), (0, width - image.shape[3])
    return torch.from_numpy(np.pad(image.numpy(), ends, **NUMPY[mode]))


class Seen(Model):
    """Model that keeps its input."""

    multiple_of = 8

    def restore(self, blurred: Tensor) -> Tensor:
        self.seen = blurred
        return blurred


class SeenPlain(nn.Module):
    """The same without the base class."""

    multiple_of = 8

    def forward(self, blurred: Tensor) -> Tensor:
        self.seen = blurred
        return blurred


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [Seen, SeenPlain])
@pytest.mark.parametrize(
    ("size", "always", "expected"),
    [((21, 30), False, (24, 32)), ((24, 32), False, (24, 32)), ((21, 30), True, (24, 32)), ((24, 32), True, (32, 40))],
)
def test_images_are_padded_as_by_numpy_and_cropped(
    kind: type[Seen | SeenPlain], mode: PaddingMode, size: tuple[int, int], always: bool, expected: tuple[int, int]
) -> None:
    """With `always`, a side n becomes (n // 8 + 1) * 8."""
    network, image = kind().eval(), torch.rand(2, 3, *size)
    set_attributes(network, {"padding": mode, "always_pad": always})
    assert torch.equal(run_generator(network, image), image)
    assert torch.equal(network.seen, _padded(image, *expected, mode))


def test_an_attribute_padding_of_a_class_is_its_own() -> None:
    network = SeenPlain().eval()
    network.padding = "zeros"  # type: ignore[assignment]
    run_generator(network, image := torch.rand(1, 3, 9, 9))
    assert torch.equal(network.seen, _padded(image, 16, 16, "reflect"))


def test_in_training_only_what_does_not_fit_is_padded() -> None:
    network = Seen().train()
    network.always_pad = True
    for size, expected in (((24, 32), (24, 32)), ((21, 30), (24, 32))):
        network(torch.rand(1, 3, *size))
        assert network.seen.shape[2:] == expected


def test_the_smallest_size_is_padded_to() -> None:
    assert [Padding(8, 24, always=always).side(n) for always in (False, True) for n in (5, 24, 25)] == [
        24, 24, 32, 24, 32, 32,
    ]  # fmt: skip


def test_an_attribute_padding_with_another_meaning_is_ignored() -> None:
    assert padding_of(nn.Conv2d(3, 3, 3, padding=1)) == Padding()
    assert padding_of(nn.Conv2d(3, 3, 3, padding="same")) == Padding()
