"""ONNX Runtime engine. ONNX files are untrusted: their metadata and their references to other files are checked."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deblurlab.errors import SizeError, UserError, first_sentence
from deblurlab.inference.engines import DEFAULT_MULTIPLE, Engine
from deblurlab.models.padding import MODES, PaddingMode, pad
from deblurlab.runs.untrusted import parse_json

_MAX_METADATA = 4096
"""Upper bound in pixels for sizes declared in ONNX metadata."""


class OnnxRuntime(Engine):
    """A network in an ONNX file: one input and one output, `(B, 3, H, W)` float in [0, 1], of any height and width.

    B may be fixed to 1; batches are then restored one image at a time.

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
            _check_external_data(path, onnx.load(path, load_external_data=False))
            self._session = onnxruntime.InferenceSession(path, options, _providers(onnxruntime, device))
        except UserError:
            raise
        except Exception as error:  # ONNX Runtime documents no exceptions for invalid files
            raise UserError(f"{path} can't be read as an ONNX model: {first_sentence(error)}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            raise UserError(f"{path} isn't a model with one float input (B, 3, H, W) and one output")
        self._path = path
        self._input, self._batched = inputs[0].name, inputs[0].shape[0] != 1
        metadata = self._session.get_modelmeta().custom_metadata_map.get("deblurlab", "{}")
        parsed = _parse_metadata(path, metadata)
        self.multiple_of, self._min_size, self._receptive_radius, self.padding, self.always_pad = parsed

    @property
    def receptive_radius(self) -> int | None:
        """Receptive radius in pixels from the metadata. It can't be measured: ONNX Runtime may not propagate NaN."""
        return self._receptive_radius

    def __call__(self, blurred: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)`; images below the minimum size are padded."""
        height, width = blurred.shape[-2:]
        blurred = pad(blurred, max(height, self._min_size), max(width, self._min_size), self.padding)
        try:
            parts = [blurred] if self._batched else torch.split(blurred, 1)
            results = [self._session.run(None, {self._input: part.contiguous().numpy()})[0] for part in parts]
        except Exception as error:  # such as an unsupported size
            raise SizeError(
                f"the ONNX model can't restore {tuple(blurred.shape[1:])}: {first_sentence(error)}"
            ) from error
        restored = torch.cat([torch.from_numpy(part) for part in results])
        if restored.shape != blurred.shape:
            shapes = tuple(restored.shape[1:]), tuple(blurred.shape[1:])
            raise SizeError(f"the ONNX model returns the shape {shapes[0]} for an image of shape {shapes[1]}")
        return restored[..., :height, :width]

    def fingerprint(self) -> str:
        """Return the SHA-256 of the file."""
        return sha256(self._path.read_bytes()).hexdigest()


def _check_external_data(path: Path, model: Any) -> None:
    """Raise UserError if an ONNX model reads weights from another file than `<name>.data` beside it."""
    beside = path.with_name(f"{path.name}.data")  # the name that torch.onnx.export uses
    allowed = "" if beside.is_symlink() else beside.name
    if (file := _external_file(model, allowed)) is not None:
        raise UserError(f"{path} keeps weights in another file, {file[:100]!r}: export it with all weights inside")


def _external_file(message: Any, allowed: str) -> str | None:
    """Return the first external data file in an ONNX message and its parts that isn't the allowed one."""
    if message.DESCRIPTOR.name == "TensorProto" and message.external_data:
        locations = [entry.value for entry in message.external_data if entry.key == "location"]
        return next((location for location in locations or ["?"] if location != allowed), None)
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in value if isinstance(value, Sequence) else [value]:
                if (file := _external_file(part, allowed)) is not None:
                    return file
    return None


def _parse_metadata(path: Path, text: str) -> tuple[int, int, int | None, PaddingMode, bool]:
    """Return multiple, smallest side, receptive radius, padding and `always_pad` from the metadata of an ONNX file.

    Raises:
        UserError: The metadata is unreadable or out of range. Images are padded to these sizes.
    """
    try:  # "smallest" and "reach" are the keys of files exported by older versions
        defaults = {"multiple_of": DEFAULT_MULTIPLE, "smallest": 1, "reach": None}
        metadata = {**defaults, "padding": "reflect", "always_pad": False, **parse_json(text)}
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} has unreadable metadata: {first_sentence(error)}") from error
    for key, minimum in (("multiple_of", 1), ("smallest", 1), ("reach", 0)):
        number = metadata[key]
        is_valid = type(number) is int and minimum <= number <= _MAX_METADATA
        if not (is_valid or (key == "reach" and number is None)):
            raise UserError(f"{path} has invalid metadata: {key}={str(number)[:100]}")
    if (padding := metadata["padding"]) not in MODES:
        raise UserError(f"{path} has invalid metadata: padding={str(padding)[:100]}")
    if type(always_pad := metadata["always_pad"]) is not bool:
        raise UserError(f"{path} has invalid metadata: always_pad={str(always_pad)[:100]}")
    return metadata["multiple_of"], metadata["smallest"], metadata["reach"], padding, always_pad


def _providers(onnxruntime: Any, device: str) -> list[str]:
    """Return the execution providers of ONNX Runtime for a device."""
    available: list[str] = onnxruntime.get_available_providers()
    if device == "auto":
        return available
    provider = f"{device.partition(':')[0].upper()}ExecutionProvider"
    if provider not in available:
        raise UserError(f"device={device} can't be used: this ONNX Runtime has {', '.join(available)}")
    return [provider]
