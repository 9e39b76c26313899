"""Export of a generator to ONNX or to PyTorch's exported program, for images of any size."""

import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.errors import UserError, first_sentence
from deblurlab.inference.engines import Torch
from deblurlab.inference.onnx_engine import OnnxRuntime
from deblurlab.models import Model
from deblurlab.models.padding import CONSTANTS, Padding, padding_of
from deblurlab.runs.files import atomic_path

Write = Callable[..., float]
"""Type of `export_onnx` and `export_program`."""
_SIZES = (1, 61, 99), (2, 64, 96), (1, 131, 77)
"""Batch size, height and width of the images that an exported file is checked on. The export uses another size."""
_AXES = "batch", "channels", "height", "width"
"""Names of the axes in ONNX files."""
_OPSET = 20
"""Version of the ONNX operators, which docs/restoring.md states."""
_TOLERANCE = {False: 1e-4, True: 2e-2}
"""Largest accepted difference to PyTorch in float32, without and with half precision."""


class AnySize(nn.Module):
    """A generator with its padding in the graph: `(B, 3, H, W)` float in [0, 1], both sides at least `min_size`.

    Any module is a generator; it may have the attributes that `padding_of` reads.
    """

    def __init__(self, generator: nn.Module, *, half: bool) -> None:
        super().__init__()
        self.generator = generator.eval().half() if half else generator.eval()
        self.padding, self.half_precision = padding_of(generator), half
        self.min_size = _smallest_side(self.padding)

    def forward(self, blurred: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)`. Of a multi-scale generator, return the finest scale."""
        height, width = blurred.shape[-2:]
        padded = self._pad(self._pad(blurred, 2), 3)
        restore = self.generator.restore if isinstance(self.generator, Model) else self.generator
        restored = restore(padded.half() if self.half_precision else padded)
        finest = restored if isinstance(restored, Tensor) else restored[-1]
        if not self._pads:
            return finest.float()
        rows, columns = (torch.arange(size, device=blurred.device) for size in (height, width))
        return finest.index_select(2, rows).index_select(3, columns).float()

    @property
    def _pads(self) -> bool:
        return self.padding.multiple_of > 1 or self.padding.always

    def _pad(self, images: Tensor, dim: int) -> Tensor:
        """Pad one side to a length that the generator accepts.

        torch.export would specialise `F.pad` for a padding of 0, but not an index.
        """
        size, m, mode = images.shape[dim], self.padding.multiple_of, self.padding.mode
        if not self._pads:
            return images
        length = (size // m + 1) * m if self.padding.always else (size + m - 1) // m * m
        positions = torch.arange(length, device=images.device)
        if mode in CONSTANTS:
            ends = (0, 0, 0, m) if dim == 2 else (0, m)
            return F.pad(images, ends, value=CONSTANTS[mode]).index_select(dim, positions)
        reflected = size - 1 - (size - 1 - positions).abs()
        return images.index_select(dim, reflected if mode == "reflect" else positions.clamp(max=size - 1))


def _smallest_side(padding: Padding) -> int:
    """Return the smallest side of images that an exported file takes.

    At a side of one stride the coarsest scale has one pixel, and torch.export would specialise the program to it.
    """
    stride = padding.multiple_of
    return max(padding.min_size - (stride if padding.always else 0), stride + 1)


def export_onnx(generator: nn.Module, path: Path, *, half: bool = False) -> float:
    """Write an ONNX file with one input, `blurred`, and one output, `restored`: `(batch, 3, height, width)` in [0, 1].

    Returns:
        The largest difference to PyTorch.

    Raises:
        UserError: The generator can't be exported, the file's results differ, or a package isn't installed.
    """
    try:
        import onnxscript  # noqa: F401 - needed by torch.onnx.export
    except ImportError as error:
        raise UserError("--format onnx needs onnxscript and ONNX Runtime: pip install 'deblurlab[onnx]'") from error
    return _export(generator, path, half, _write_onnx, lambda file: OnnxRuntime(file))


def export_program(generator: nn.Module, path: Path, *, half: bool = False) -> float:
    """Write an exported program, which `torch.export.load` reads.

    Returns:
        The largest difference to PyTorch.

    Raises:
        UserError: The generator can't be exported, or the file's results differ.
    """

    def load(file: Path) -> Callable[[Tensor], Tensor]:
        program: Callable[[Tensor], Tensor] = torch.export.load(file).module()
        return program

    return _export(generator, path, half, lambda program, file, metadata: torch.export.save(program, file), load)


def _export(
    generator: nn.Module,
    path: Path,
    half: bool,
    write: Callable[[Any, Path, dict[str, Any]], None],
    load: Callable[[Path], Callable[[Tensor], Tensor]],
) -> float:
    """Export to a temporary file, compare it with PyTorch and rename it; return the largest difference."""
    if path.exists():
        raise UserError(f"{path} exists already: choose another with -o")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {path.parent}: create it first")
    engine = Torch(generator, torch.device("cpu"), channels_last=False)
    random = torch.Generator().manual_seed(0)
    padding = padding_of(generator.eval())
    smallest = _smallest_side(padding) if padding.always else padding.min_size
    images = [torch.rand(n, 3, *(max(side, smallest) for side in size), generator=random) for n, *size in _SIZES]
    references = [engine(image) for image in images]
    # "reach" and, below, "smallest" are the keys of files exported by older versions.
    metadata = {
        "multiple_of": engine.multiple_of, "reach": engine.receptive_radius, "half": half, "padding": engine.padding,
        "always_pad": engine.always_pad,
    }  # fmt: skip
    network = AnySize(generator, half=half)  # after the references, because it may convert the weights
    min_size = network.min_size
    example = torch.rand(2, 3, 2 * min_size + 3, 2 * min_size + 5)
    sides = {side: torch.export.Dim(side, min=min_size, max=1 << 15) for side in ("height", "width")}
    shapes = ({0: torch.export.Dim("batch"), 2: sides["height"], 3: sides["width"]},)
    try:
        with atomic_path(path, unique=True) as temporary, _quiet(), torch.no_grad():
            program = torch.export.export(
                network, (example,), dynamic_shapes=shapes, prefer_deferred_runtime_asserts_over_guards=True
            )
            write(program, temporary, {**metadata, "smallest": min_size})
            run = load(temporary)
            difference = max(
                float((run(image) - expected).abs().max()) for image, expected in zip(images, references, strict=True)
            )
            if not difference <= _TOLERANCE[half]:
                raise UserError(
                    f"the results of the exported {path.name} differ from PyTorch by up to {difference:.2g}"
                )
    except UserError:
        raise
    except Exception as error:
        name = type(generator).__name__
        raise UserError(f"{name} can't be exported to {path.name} for every size: {first_sentence(error)}") from error
    return difference


def _write_onnx(program: Any, path: Path, metadata: dict[str, Any]) -> None:
    written = torch.onnx.export(
        program, dynamo=True, input_names=["blurred"], output_names=["restored"], verbose=False, optimize=True,
        opset_version=_OPSET,
    )  # fmt: skip
    assert written is not None
    _name_axes(written.model)
    opset = written.model.opset_imports[""]
    written.model.metadata_props["deblurlab"] = json.dumps({**metadata, "opset": opset})
    written.save(path, external_data=False)


def _name_axes(model: Any) -> None:
    """Replace the exporter's symbols, such as s28, in all shapes by the names of the input's axes."""
    graph = model.graph
    axes = zip(graph.inputs[0].shape, _AXES, strict=True)
    names = {size.value: name for size, name in axes if not isinstance(size, int)}
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    for shape in (value.shape for value in values if value.shape is not None):
        for i, size in enumerate(shape):
            if not isinstance(size, int) and size.value is not None:
                shape[i] = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), size.value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Context manager that hides the warnings and log messages of the exporters."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
