"""What runs a network: PyTorch, or ONNX Runtime."""

from collections.abc import Callable, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deblurlab.errors import UserError, first_sentence
from deblurlab.models.base import pad_reflect
from deblurlab.models.cost import count_macs, count_parameters
from deblurlab.runs.untrusted import parse_json

ALIGNMENT = 32
"""What windows are multiples of for a network that doesn't say."""
_FARTHEST = 4096
"""Pixels that an ONNX file may say."""


class Engine:
    """Runs a network on images of any size. Calls from several threads at once are fine."""

    multiple_of: int = 1
    """A window that begins at a multiple of this is restored as it is in the midst of the image."""

    @property
    def reach(self) -> int | None:
        """How many pixels away an input pixel may be that an output pixel depends on; None if it can't be told, is more
        than `LONGEST`, or all of them matter."""
        return None

    def __call__(self, blurred: Tensor) -> Tensor:
        """`(B, 3, H, W)` float in [0, 1] on the CPU -> the same, not clamped.

        Raises:
            ValueError: It can't restore this size.
        """
        raise NotImplementedError

    def cost(self) -> dict[str, int]:
        """`parameters` and `macs_256`, where they are known."""
        return {}

    def fingerprint(self) -> str:
        """The same for the same weights."""
        raise NotImplementedError


class Torch(Engine):
    """A network in PyTorch."""

    def __init__(self, network: nn.Module, device: torch.device, *, channels_last: bool = True) -> None:
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._device = device
        self._network = network.eval().to(device).to(memory_format=self._format)
        self.multiple_of = int(getattr(network, "multiple_of", ALIGNMENT))

    @cached_property
    def reach(self) -> int | None:
        return reach(self, self.multiple_of, int(getattr(self._network, "min_size", 1)))

    @torch.inference_mode()
    def __call__(self, blurred: Tensor) -> Tensor:
        restored = self._network(blurred.to(self._device).contiguous(memory_format=self._format))
        finest = restored[-1] if isinstance(restored, (list, tuple)) else restored
        return finest.float().cpu()

    def cost(self) -> dict[str, int]:
        return {"parameters": count_parameters(self._network), "macs_256": count_macs(self._network)}

    def fingerprint(self) -> str:
        digest = sha256()
        for name, value in self._network.state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


class OnnxRuntime(Engine):
    """A network in an ONNX file: one input and one output, `(B, 3, H, W)` float in [0, 1], of any height and width.

    Raises:
        UserError: ONNX Runtime isn't installed, or the file can't be used.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise UserError("ONNX files need ONNX Runtime: pip install 'deblurlab[onnx]'") from error
        if not path.is_file():
            raise UserError(f"there is no file {path}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            beside = path.with_name(f"{path.name}.data")  # as torch's exporter calls it
            allowed = "" if beside.is_symlink() else beside.name
            if (file := _external(onnx.load(path, load_external_data=False), allowed)) is not None:
                raise UserError(
                    f"{path} keeps weights in another file, {file[:100]!r}: export it with all of them inside"
                )
            self._session = onnxruntime.InferenceSession(path, options, _providers(onnxruntime, device))
        except UserError:
            raise
        except Exception as error:  # whatever ONNX Runtime makes of a file that is none
            raise UserError(f"{path} can't be read as an ONNX model: {first_sentence(error)}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            raise UserError(f"{path} isn't a model of one float image (1, 3, H, W) and one restored one")
        self._path = path
        self._input, self._batched = inputs[0].name, inputs[0].shape[0] != 1
        said = self._session.get_modelmeta().custom_metadata_map.get("deblurlab", "{}")
        self.multiple_of, self._smallest, self._reach = _properties(path, said)

    @property
    def reach(self) -> int | None:
        return self._reach  # what the file says: ONNX Runtime may swallow the marks that tell

    def __call__(self, blurred: Tensor) -> Tensor:
        height, width = blurred.shape[-2:]
        if min(height, width) < self._smallest:
            blurred = pad_reflect(blurred, max(height, self._smallest), max(width, self._smallest))
        try:
            parts = [blurred] if self._batched else torch.split(blurred, 1)
            done = [self._session.run(None, {self._input: part.contiguous().numpy()})[0] for part in parts]
        except Exception as error:  # a size it can't take, for one
            raise ValueError(
                f"the ONNX model can't restore {tuple(blurred.shape[1:])}: {first_sentence(error)}"
            ) from error
        restored = torch.cat([torch.from_numpy(part) for part in done])
        if restored.shape != blurred.shape:
            raise ValueError(f"the ONNX model makes {tuple(restored.shape[1:])} of {tuple(blurred.shape[1:])}")
        return restored[..., :height, :width]

    def fingerprint(self) -> str:
        return sha256(self._path.read_bytes()).hexdigest()


def _external(message: Any, allowed: str) -> str | None:
    """The first other file than the allowed one that an ONNX model, or a part of it, has data in."""
    if message.DESCRIPTOR.name == "TensorProto" and message.external_data:
        places = [entry.value for entry in message.external_data if entry.key == "location"]
        return next((place for place in places or ["?"] if place != allowed), None)
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            parts = value if isinstance(value, Sequence) else [value]
            if (
                found := next((file for part in parts if (file := _external(part, allowed)) is not None), None)
            ) is not None:
                return found
    return None


def _properties(path: Path, said: str) -> tuple[int, int, int | None]:
    """`multiple_of`, the smallest side and the reach, out of what a file says of itself.

    Raises:
        UserError: It says what no network has, and images would be made that large.
    """
    try:
        about = {"multiple_of": ALIGNMENT, "smallest": 1, "reach": None, **parse_json(said)}
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} says of itself what can't be read: {first_sentence(error)}") from error
    for key, least in (("multiple_of", 1), ("smallest", 1), ("reach", 0)):
        number = about[key]
        if not ((type(number) is int and least <= number <= _FARTHEST) or (key == "reach" and number is None)):
            raise UserError(f"{path} says {key}={str(number)[:100]}, which no network has")
    return about["multiple_of"], about["smallest"], about["reach"]


def _providers(onnxruntime: Any, device: str) -> list[str]:
    """What ONNX Runtime may run on."""
    known: list[str] = onnxruntime.get_available_providers()
    if device == "auto":
        return known
    wanted = f"{device.partition(':')[0].upper()}ExecutionProvider"
    if wanted not in known:
        raise UserError(f"device={device} can't be used: this ONNX Runtime has {', '.join(known)}")
    return [wanted]


class Ensemble(Engine):
    """The mean over the eight flips and quarter turns of the image (Timofte et al., "Seven Ways to Improve
    Example-Based Single Image Super Resolution", CVPR 2016)."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.multiple_of = engine, engine.multiple_of

    @property
    def reach(self) -> int | None:
        return self._engine.reach

    def __call__(self, blurred: Tensor) -> Tensor:
        height, width = blurred.shape[-2:]
        down, right = (-size % self.multiple_of for size in (height, width))
        even = pad_reflect(blurred, height + down, width + right)  # so that a turned image is cut where it was
        total = torch.zeros_like(even)
        for turned in (False, True):
            for flips in ([], [2], [3], [2, 3]):
                view = (even.transpose(2, 3) if turned else even).flip(flips)
                restored = self._engine(view).flip(flips)
                total += restored.transpose(2, 3) if turned else restored
        return (total / 8)[..., :height, :width]

    def cost(self) -> dict[str, int]:
        return self._engine.cost()

    def fingerprint(self) -> str:
        return f"{self._engine.fingerprint()} ensemble"


LONGEST = 384
"""Pixels that a network is looked through for its reach."""


def reach(run: Callable[[Tensor], Tensor], multiple_of: int, min_size: int = 1) -> int | None:
    """How far a network sees, in pixels, by marking one half of an image as not a number and looking how far from there
    the output isn't one either; None if that is farther than `LONGEST`."""
    size = 2 * -(-LONGEST // multiple_of) * multiple_of
    half, breadth = size // 2, max(min_size, 2 * multiple_of)
    farthest = 0
    for dim in (2, 3):
        for start in (0, half):
            shape = [1, 3, breadth, breadth]
            shape[dim] = size
            image = torch.full(shape, 0.5)
            image.narrow(dim, start, half).fill_(torch.nan)
            lost = run(image).isnan().any(1)[0].any(2 - dim + 1).nonzero()[:, 0]
            if len(lost) == 0:
                return None
            distance = int(lost[-1]) + 1 - half if start == 0 else half - int(lost[0])
            if distance >= half:
                return None
            farthest = max(farthest, distance)
    return -(-farthest // multiple_of) * multiple_of
