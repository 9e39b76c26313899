"""Choice between float32 and bfloat16 for a network."""

import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from deblurlab._compat import cpu_has_bf16
from deblurlab.errors import UserError, first_sentence

Precision = Literal["auto", "fp32", "bf16"]
"""float32, bfloat16 by autocast, or bfloat16 for images of 8 bits where it is fast and accurate enough."""
MAX_DIFFERENCE = 0.5
"""Largest mean difference between bfloat16 and float32, in levels of 255, that "auto" accepts.

The mean and not the maximum, because the error of an image is a sum over its pixels: in a few pixels at strong edges
even an accurate network differs by several levels.
"""
_SIDE, _BLUR = 256, 9
_LOG = logging.getLogger(__name__)


class Choice(NamedTuple):
    """Precision in which a network runs."""

    bf16: bool
    """bfloat16 for images of 8 bits."""
    bf16_above_8_bits: bool
    """bfloat16 for all other images, too."""
    reason: str
    """The choice and its reason, in one line."""

    @property
    def name(self) -> str:
        """Short name; equal names give equal results."""
        return "fp32" if not self.bf16 else "bf16" if self.bf16_above_8_bits else "bf16 up to 8 bits"


def check_precision(precision: str) -> None:
    """Raise UserError if a precision is unknown."""
    if precision not in get_args(Precision):
        raise UserError(f"precision={precision} is unknown: choose {', '.join(get_args(Precision))}")


def choose_precision(precision: str, device: torch.device, run: Callable[[Tensor, bool], Tensor]) -> Choice:
    """Choose the precision of a network.

    "auto" is bfloat16 for images of 8 bits if the device is a CPU with bfloat16 instructions and the results for a
    probe image differ from float32 by less than `MAX_DIFFERENCE` on average. Images of more than 8 bits and floats stay
    float32: half a level of 8 bits is 128 levels of 16 bits.

    Args:
        precision: "auto", "fp32" or "bf16".
        device: Device of the network.
        run: The network, a function of `(1, 3, H, W)` and whether to use bfloat16.

    Raises:
        UserError: The precision is unknown, or bfloat16 is requested and the network can't run with it.
    """
    check_precision(precision)
    if precision == "fp32":
        return Choice(False, False, "fp32")
    native = has_bf16(device)
    if precision == "auto" and device.type != "cpu":
        return Choice(False, False, "fp32: only on CPUs is bf16 known to be faster")
    if precision == "auto" and not native:
        return Choice(False, False, f"fp32: {device} has no bf16 instructions")
    try:
        difference = measure_difference(run)
    except Exception as error:  # a network may be any module
        message = f"bf16 fails on a test image of 256x256 pixels ({first_sentence(error.__cause__ or error)})"
        if precision == "bf16":
            raise UserError(f"{message}: use precision fp32") from error
        return Choice(False, False, f"fp32: {message}")
    measured = f"{difference:.2g} levels of 255 from fp32 on average, on a test image"
    if precision == "bf16":
        if not native:
            _LOG.warning("%s has no bf16 instructions: bf16 takes several times as long as fp32", device)
        return Choice(True, True, f"bf16 ({measured})")
    if not difference < MAX_DIFFERENCE:
        return Choice(False, False, f"fp32: bf16 would be {measured}")
    return Choice(True, False, f"bf16 for images of 8 bits ({measured}), fp32 for others")


def has_bf16(device: torch.device) -> bool:
    """Return whether a device has bfloat16 instructions: AVX-512 BF16, or a GPU with CUDA that has them."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and cpu_has_bf16()


def measure_difference(run: Callable[[Tensor, bool], Tensor]) -> float:
    """Return the mean difference between bfloat16 and float32 for the probe image, in levels of 255."""
    image = probe_image()
    exact, rounded = (run(image, bf16).clamp(0, 1) for bf16 in (False, True))
    return 255 * float((rounded - exact).abs().mean())


def probe_image() -> Tensor:
    """Return a blurred part of a photograph, `(1, 3, 256, 256)` in [0, 1], of 8 bits."""
    package = find_spec("skimage")  # importing it would load SciPy
    assert package is not None
    assert package.origin is not None
    with Image.open(Path(package.origin).parent / "data" / "astronaut.png") as photograph:
        part = np.asarray(photograph)[:_SIDE, 96 : 96 + _SIDE + _BLUR - 1].astype(np.float32)
    blurred = np.rint(sum(part[:, i : i + _SIDE] for i in range(_BLUR)) / _BLUR)
    return torch.from_numpy(blurred / 255).permute(2, 0, 1)[None]
