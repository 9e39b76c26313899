"""Restorers: whatever turns a blurred image into a restored one."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from deblurlab.checkpoints import load_model
from deblurlab.classical.estimation import EstimationError
from deblurlab.classical.frequency import Array
from deblurlab.data.pairs import Pair
from deblurlab.errors import UserError, reason
from deblurlab.inference.psf import NoPsf, Psf
from deblurlab.models.cost import macs, parameters


class Restored(NamedTuple):
    """What a restorer made of an image."""

    image: Tensor
    """`(3, H, W)` in [0, 1], or beyond; on the CPU."""
    psf: str | None = None
    """What kernel was used, if any."""
    untouched: str | None = None
    """Why the image was left as it is."""


class Restorer:
    """Turns a blurred image into a restored one."""

    def prepare(self, device: torch.device, psf: Psf) -> None:
        """Called once before the first image."""

    def __call__(self, blurred: Tensor, pair: Pair) -> Restored:
        """Restore an image, `(3, H, W)` in [0, 1] on the CPU; `pair` says which it is.

        Raises:
            ValueError, UserError: It can't be restored.
        """
        raise NotImplementedError

    def warm_up(self, blurred: Tensor, pair: Pair) -> None:
        """Called once, before time is taken.

        Raises:
            UserError: No image can be restored as things are set up.
        """

    def cost(self) -> dict[str, int]:
        """`parameters` and `macs_256`, the multiply-accumulates for an image of 256x256, of networks."""
        return {}


class Identity(Restorer):
    """The blurred image itself."""

    def __call__(self, blurred: Tensor, pair: Pair) -> Restored:
        return Restored(blurred)


class Checkpoint(Restorer):
    """A trained generator: a run's best checkpoint, a checkpoint, or a release.

    Raises:
        UserError: It can't be read, or names a class that is neither a model of deblurlab nor in `trust`.
    """

    def __init__(self, *, path: str, trust: Sequence[str] = (), channels_last: bool = True) -> None:
        self._network = load_model(Path(path), trust=trust)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._device = torch.device("cpu")

    def prepare(self, device: torch.device, psf: Psf) -> None:
        self._device = device
        self._network.to(device).to(memory_format=self._format)

    def warm_up(self, blurred: Tensor, pair: Pair) -> None:
        with suppress(ValueError, RuntimeError):  # that image's misfortune
            self(blurred, pair)

    @torch.inference_mode()
    def __call__(self, blurred: Tensor, pair: Pair) -> Restored:
        restored = self._network(blurred[None].to(self._device, memory_format=self._format))
        finest = restored[-1] if isinstance(restored, (list, tuple)) else restored
        return Restored(finest[0].float().cpu())

    def cost(self) -> dict[str, int]:
        return {"parameters": parameters(self._network), "macs_256": macs(self._network)}


class Onnx(Restorer):
    """A network in an ONNX file, run by ONNX Runtime: one input and one output, `(1, 3, H, W)` float in [0, 1], of any
    height and width.

    Raises:
        UserError: ONNX Runtime isn't installed, or the file can't be used.
    """

    def __init__(self, *, path: str) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError("restorer=onnx needs ONNX Runtime: pip install 'deblurlab[onnx]'") from error
        if not Path(path).is_file():
            raise UserError(f"there is no file restorer.path={path}")
        try:
            self._session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
        except Exception as error:  # whatever ONNX Runtime makes of a file that is none
            raise UserError(f"restorer.path={path} can't be read as an ONNX model: {reason(error)}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            raise UserError(f"restorer.path={path} isn't a model of one float image (1, 3, H, W) and one restored one")
        self._input = inputs[0].name

    def warm_up(self, blurred: Tensor, pair: Pair) -> None:
        with suppress(ValueError):  # that image's misfortune
            self(blurred, pair)

    def __call__(self, blurred: Tensor, pair: Pair) -> Restored:
        try:
            (restored,) = self._session.run(None, {self._input: blurred[None].numpy()})
        except Exception as error:  # a size it can't take, for one
            raise ValueError(f"the ONNX model can't restore {tuple(blurred.shape)}: {reason(error)}") from error
        return Restored(torch.from_numpy(restored[0]))


class Classical(Restorer):
    """A function of (image, psf), both NumPy arrays: `(H, W, 3)` and `(k, k)`.

    Args:
        method: The function.
        light: What the image is in when the function gets it: "linear" light, in which blur is a convolution, or
            "gamma", the sRGB codes themselves.
        needs_psf: False if it makes something of an image without a kernel too.
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
        if self._needs_psf and isinstance(psf, NoPsf):
            raise UserError("this restorer needs a kernel: psf=oracle, estimate, gaussian or file")
        self._psf = psf

    def warm_up(self, blurred: Tensor, pair: Pair) -> None:
        assert self._psf is not None
        with suppress(EstimationError, ValueError):  # that image's misfortune
            self._psf(blurred.permute(1, 2, 0).double().numpy(), pair)

    def __call__(self, blurred: Tensor, pair: Pair) -> Restored:
        assert self._psf is not None, "the restorer wasn't prepared"
        image = blurred.permute(1, 2, 0).double().numpy()
        image = to_light(image) if self._light == "linear" else image
        try:
            psf, said = self._psf(image, pair)
        except EstimationError as error:
            return Restored(blurred, "not found", str(error))
        restored = np.clip(self._method(image, psf), 0, 1)
        restored = from_light(restored) if self._light == "linear" else restored
        return Restored(torch.from_numpy(np.ascontiguousarray(restored.transpose(2, 0, 1))).float(), said)


def to_light(codes: Array) -> Array:
    """sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def from_light(light: Array) -> Array:
    """Linear light in [0, 1] to sRGB."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)
