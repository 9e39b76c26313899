"""Padding of images to sizes that a network accepts."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.errors import UserError

PaddingMode = Literal["reflect", "replicate", "zeros", "grey"]
"""Values of padded pixels: reflection without or with the edge repeated, 0 or 0.5."""

MODES: tuple[PaddingMode, ...] = get_args(PaddingMode)
CONSTANTS: Mapping[str, float] = {"zeros": 0.0, "grey": 0.5}
"""Value of the padded pixels of modes with a constant."""
_MAX_MULTIPLE = 4096
"""Largest `multiple_of`: images are padded to it."""
Network = TypeVar("Network", bound=nn.Module)


class Padding(NamedTuple):
    """Sizes that a network accepts, and how images are padded to them at the bottom and right."""

    multiple_of: int = 1
    """Sides are multiples of it."""
    min_size: int = 1
    """Smallest side."""
    mode: PaddingMode = "reflect"
    always: bool = False
    """Pad sides that are multiples already by one more multiple."""

    def side(self, side: int) -> int:
        """Return the length of a side after padding."""
        count = side // self.multiple_of + 1 if self.always else -(-side // self.multiple_of)
        return max(self.min_size, count * self.multiple_of)

    def __call__(self, images: Tensor) -> Tensor:
        """Pad `(B, C, H, W)`."""
        return pad(images, self.side(images.shape[-2]), self.side(images.shape[-1]), self.mode)


def padding_of(network: nn.Module) -> Padding:
    """Return the padding that the attributes `multiple_of`, `min_size`, `image_padding`, `always_pad` describe.

    `always_pad` is for evaluation: in training mode the size of the crops is chosen to fit.
    """
    return Padding(
        int(getattr(network, "multiple_of", 1)),
        int(getattr(network, "min_size", 1)),
        getattr(network, "image_padding", "reflect"),
        getattr(network, "always_pad", False) is True and not network.training,
    )


def set_attributes(network: Network, attributes: Mapping[str, Any]) -> Network:
    """Set attributes that describe the padding of a network from its config node, and return the network.

    Args:
        network: Any module.
        attributes: Values of `multiple_of`, `padding` (the attribute `image_padding`) or `always_pad`.

    Raises:
        UserError: A value isn't possible.
    """
    for key, value in attributes.items():
        match key:
            case "multiple_of":
                valid = type(value) is int and 1 <= value <= _MAX_MULTIPLE
                expected = f"a whole number from 1 to {_MAX_MULTIPLE}"
            case "padding":
                valid, expected = isinstance(value, str) and value in MODES, f"one of {', '.join(MODES)}"
            case _:
                valid, expected = isinstance(value, bool), "true or false"
        if not valid:
            raise UserError(f"model.{key}={value!s:.50} must be {expected}")
        setattr(network, "image_padding" if key == "padding" else key, value)
    return network


def pad(images: Tensor, height: int, width: int, mode: PaddingMode = "reflect") -> Tensor:
    """Pad `(B, C, H, W)` at the bottom and right to `(B, C, height, width)`.

    Where the padding exceeds what reflection can fill (H - 1 rows, W - 1 columns), the edge is replicated.
    """
    bottom, right = height - images.shape[-2], width - images.shape[-1]
    if bottom == right == 0:
        return images
    if mode in CONSTANTS:
        return F.pad(images, (0, right, 0, bottom), value=CONSTANTS[mode])
    if mode == "reflect":
        shown = min(right, images.shape[-1] - 1), min(bottom, images.shape[-2] - 1)
        images = F.pad(images, (0, shown[0], 0, shown[1]), "reflect")
    return F.pad(images, (0, width - images.shape[-1], 0, height - images.shape[-2]), "replicate")


def pad_symmetric(images: Tensor, border: int) -> Tensor:
    """Pad `(B, C, H, W)` on all sides by reflection with the edge repeated, 1 0 | 0 1 2 | 2 1, as often as it takes.

    Example:
        >>> import torch
        >>> pad_symmetric(torch.arange(3.0).expand(1, 1, 3, 3), 2)[0, 0, 0].tolist()
        [1.0, 0.0, 0.0, 1.0, 2.0, 2.0, 1.0]
    """
    for dim in (-2, -1):
        side = images.shape[dim]
        indices = torch.arange(-border, side + border, device=images.device) % (2 * side)
        images = images.index_select(dim, torch.minimum(indices, 2 * side - 1 - indices))
    return images
