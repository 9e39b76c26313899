"""Base class of restorers."""

from typing import NamedTuple

import torch
from torch import Tensor

from deblurlab.datasets.listing import Item
from deblurlab.restorers.psf import Psf


class Restored(NamedTuple):
    """Result of a restorer for one image."""

    image: Tensor
    """`(3, H, W)` on the CPU, nominally in [0, 1], not clamped."""
    psf: str | None = None
    """Description of the psf, if the restorer used one."""
    untouched: str | None = None
    """Reason why the blurred image was returned unchanged."""


class BaseRestorer:
    """A method that turns a blurred image into a restored one."""

    def prepare(self, device: torch.device, psf: Psf) -> None:
        """Set the device and the source of psfs. Called once before the first image.

        Raises:
            UserError: The restorer can't use the psf.
        """

    def __call__(self, blurred: Tensor, pair: Item) -> Restored:
        """Restore an image.

        Args:
            blurred: `(3, H, W)` in [0, 1] on the CPU.
            pair: The pair that the image belongs to.

        Raises:
            ValueError, UserError: The image can't be restored.
        """
        raise NotImplementedError

    def warm_up(self, blurred: Tensor, pair: Item) -> None:
        """Run once before the first timed image.

        Raises:
            UserError: The configuration can't restore any image.
        """

    def cost(self) -> dict[str, int]:
        """Return `parameters` and `macs_256` of a network: its size and its multiply-accumulates at 256x256."""
        return {}


class Identity(BaseRestorer):
    """Restorer that returns the blurred image unchanged."""

    def __call__(self, blurred: Tensor, pair: Item) -> Restored:
        """Return the blurred image."""
        return Restored(blurred)
