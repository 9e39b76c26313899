"""Classical restoration methods as restorers."""

from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from deblurlab.classical.estimation import EstimationError
from deblurlab.classical.frequency import Array
from deblurlab.datasets.listing import Item
from deblurlab.errors import UserError
from deblurlab.media.srgb import linear_to_srgb, srgb_to_linear
from deblurlab.restorers.base import BaseRestorer, Restored
from deblurlab.restorers.psf import NoPsf, Psf


class Classical(BaseRestorer):
    """A restoration function of (image, psf) on NumPy arrays, `(H, W, 3)` and `(k, k)`.

    Args:
        method: The function.
        light: Values that the function gets: "linear" light, in which blur is a convolution, or "gamma", sRGB.
        needs_psf: Whether the function needs a psf.
    """

    def __init__(
        self,
        *,
        method: Callable[[Array, Array | None], Array],
        light: Literal["linear", "gamma"] = "linear",
        needs_psf: bool = True,
    ) -> None:
        if light not in ("linear", "gamma"):
            raise UserError(f"restorer.light={light} is unknown: linear or gamma")
        self._method, self._light, self._needs_psf = method, light, needs_psf
        self._psf: Psf | None = None

    def prepare(self, device: torch.device, psf: Psf) -> None:
        """Set the source of psfs."""
        if self._needs_psf and isinstance(psf, NoPsf):
            raise UserError("this restorer needs a psf: choose psf=estimate, estimate_straight, oracle or gaussian")
        self._psf = psf

    def warm_up(self, blurred: Tensor, pair: Item) -> None:
        """Check that a psf is available."""
        assert self._psf is not None
        with suppress(EstimationError, ValueError):  # only this image fails: its result reports the error
            self._psf(blurred.permute(1, 2, 0).double().numpy(), pair)

    def __call__(self, blurred: Tensor, pair: Item) -> Restored:
        """Restore an image, `(3, H, W)` in [0, 1]; return it unchanged if its psf can't be estimated."""
        assert self._psf is not None, "call prepare first"
        image = blurred.permute(1, 2, 0).double().numpy()
        image = srgb_to_linear(image) if self._light == "linear" else image
        try:
            psf, description = self._psf(image, pair)
        except EstimationError as error:
            return Restored(blurred, "not found", str(error))
        restored = np.clip(self._method(image, psf), 0, 1)
        restored = linear_to_srgb(restored) if self._light == "linear" else restored
        return Restored(torch.from_numpy(np.ascontiguousarray(restored.transpose(2, 0, 1))).float(), description)
