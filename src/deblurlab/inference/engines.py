"""Engines that run a network: the base class, PyTorch, and the self-ensemble."""

from collections.abc import Callable
from contextlib import nullcontext
from copy import copy
from functools import cached_property
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from deblurlab.errors import SizeError
from deblurlab.inference.precision import choose_precision
from deblurlab.models.base import run_generator
from deblurlab.models.memory_format import convert_memory_format
from deblurlab.models.padding import PaddingMode, pad, padding_of

DEFAULT_MULTIPLE = 32
"""Assumed stride of a network that doesn't define `multiple_of`, for tiles. Images aren't padded to it."""
MAX_RADIUS = 384
"""Largest receptive radius in pixels that is measured."""


class Engine:
    """Base class of engines: runs a network on images of any size. Thread-safe."""

    multiple_of: int = 1
    """Stride of the network: the product of its downsampling factors. A window is restored as in the whole image
    only if it starts at a multiple of it."""
    padding: PaddingMode = "reflect"
    """Values of padded pixels."""
    always_pad: bool = False
    """The network pads sides that are multiples already by one more multiple."""
    precision: str = ""
    """The chosen precision and its reason, in one line; empty if the engine has no choice."""

    @property
    def receptive_radius(self) -> int | None:
        """Largest distance in pixels between an output pixel and an input pixel that it depends on.

        None if it is unknown, larger than `MAX_RADIUS`, or unlimited.
        """
        return None

    def __call__(self, blurred: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)` float in [0, 1] on the CPU. The result has the same shape and isn't clamped.

        Raises:
            SizeError: The network can't restore this size.
        """
        raise NotImplementedError

    def for_images(self, dtype: npt.DTypeLike) -> "Engine":
        """Return the engine with the precision for images of a type, such as uint8, uint16 or float32."""
        return self

    def cost(self) -> dict[str, int]:
        """Return `parameters` and `macs_256` (multiply-accumulates at 256x256), empty if they are unknown."""
        return {}

    def fingerprint(self) -> str:
        """Return a digest of the weights, and the precision unless it is float32."""
        raise NotImplementedError


class Torch(Engine):
    """A network in PyTorch.

    Args:
        network: The network.
        device: Its device.
        channels_last: Use the channels-last memory format.
        precision: "fp32", "bf16", or "auto"; see `choose_precision`. bfloat16 is used by autocast: with converted
            weights, sums with the blurred image would be rounded too, which is ten times less accurate.

    Raises:
        UserError: The precision is unknown, or bfloat16 is requested and the network can't run with it.
    """

    def __init__(
        self, network: nn.Module, device: torch.device, *, channels_last: bool = True, precision: str = "fp32"
    ) -> None:
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._device = device
        self._network = network.eval().to(device)
        convert_memory_format(self._network, self._format)
        self.multiple_of = int(getattr(network, "multiple_of", DEFAULT_MULTIPLE))
        _, _, self.padding, self.always_pad = padding_of(self._network)
        self._choice = choose_precision(precision, device, self._run)
        self._bf16, self.precision = self._choice.bf16, self._choice.reason

    def for_images(self, dtype: npt.DTypeLike) -> Engine:
        """Return the engine with the precision for images of a type; it shares the network."""
        bf16 = self._choice.bf16 if np.dtype(dtype) == np.uint8 else self._choice.bf16_above_8_bits
        if bf16 == self._bf16:
            return self
        engine = copy(self)
        engine._bf16 = bf16
        return engine

    @cached_property
    def receptive_radius(self) -> int | None:
        """Receptive radius in pixels, measured at the first access; None if the network rejects the measured sizes."""
        try:
            smallest = int(getattr(self._network, "min_size", 1))
            return measure_receptive_radius(lambda image: self._run(image, False), self.multiple_of, smallest)
        except SizeError:
            return None

    def __call__(self, blurred: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)`. Of a multi-scale network, return the finest scale."""
        return self._run(blurred, self._bf16)

    @torch.inference_mode()
    def _run(self, blurred: Tensor, bf16: bool) -> Tensor:
        with torch.autocast(self._device.type, torch.bfloat16) if bf16 else nullcontext():
            restored = run_generator(self._network, blurred.to(self._device).contiguous(memory_format=self._format))
        finest = restored[-1] if isinstance(restored, (list, tuple)) else restored
        return finest.float().cpu()

    def cost(self) -> dict[str, int]:
        """Return `parameters` and `macs_256`."""
        from deblurlab.models.cost import count_macs, count_parameters  # torch's counter loads triton

        return {"parameters": count_parameters(self._network), "macs_256": count_macs(self._network)}

    def fingerprint(self) -> str:
        """Return the SHA-256 of the state dict, and the precision unless it is float32."""
        digest = sha256()
        for name, value in self._network.state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest() + (f" {self._choice.name}" if self._choice.bf16 else "")


class Ensemble(Engine):
    """Self-ensemble: the mean over the eight flips and quarter turns of the image.

    Timofte et al., "Seven Ways to Improve Example-Based Single Image Super Resolution", CVPR 2016, section 3.6.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self.multiple_of = engine, engine.multiple_of
        self.padding, self.always_pad, self.precision = engine.padding, engine.always_pad, engine.precision

    def for_images(self, dtype: npt.DTypeLike) -> Engine:
        """Return the self-ensemble with the precision for images of a type."""
        return Ensemble(self._engine.for_images(dtype))

    @property
    def receptive_radius(self) -> int | None:
        """Receptive radius of the engine in pixels."""
        return self._engine.receptive_radius

    def __call__(self, blurred: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)` eight times and average."""
        height, width = blurred.shape[-2:]
        even = blurred
        if not self.always_pad:  # the network's grid stays in place when the image is flipped
            bottom, right = (-size % self.multiple_of for size in (height, width))
            even = pad(blurred, height + bottom, width + right, self.padding)
        total = torch.zeros_like(even)
        for transposed in (False, True):
            for flips in ([], [2], [3], [2, 3]):
                view = (even.transpose(2, 3) if transposed else even).flip(flips)
                restored = self._engine(view).flip(flips)
                total += restored.transpose(2, 3) if transposed else restored
        return (total / 8)[..., :height, :width]

    def cost(self) -> dict[str, int]:
        """Return the cost of a single pass."""
        return self._engine.cost()

    def fingerprint(self) -> str:
        """Return the digest of the engine, marked as an ensemble."""
        return f"{self._engine.fingerprint()} ensemble"


def measure_receptive_radius(run: Callable[[Tensor], Tensor], multiple_of: int, min_size: int = 1) -> int | None:
    """Measure the receptive radius of a network in pixels, rounded up to its stride.

    One half of an image is NaN. The radius is the distance from there to the farthest output pixel that is NaN.

    Args:
        run: The network; input and output are `(1, 3, H, W)`.
        multiple_of: Stride of the network.
        min_size: Smallest side that the network accepts.

    Returns:
        The radius; None if it exceeds `MAX_RADIUS` or NaNs don't propagate.
    """
    size = 2 * -(-MAX_RADIUS // multiple_of) * multiple_of
    half, breadth = size // 2, max(min_size, 2 * multiple_of)
    radius = 0
    for dim in (2, 3):
        for start in (0, half):
            shape = [1, 3, breadth, breadth]
            shape[dim] = size
            image = torch.full(shape, 0.5)
            image.narrow(dim, start, half).fill_(torch.nan)
            affected = run(image).isnan().any(1)[0].any(2 - dim + 1).nonzero()[:, 0]
            if len(affected) == 0:
                return None
            distance = int(affected[-1]) + 1 - half if start == 0 else half - int(affected[0])
            if distance >= half:
                return None
            radius = max(radius, distance)
    return -(-radius // multiple_of) * multiple_of
