"""A generator as a file for other programs: ONNX, or PyTorch's exported program. Both take images of any size."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deblurlab.errors import UserError, first_sentence
from deblurlab.inference.engines import OnnxRuntime, Torch
from deblurlab.models import Model
from deblurlab.runs.files import atomic_path

Write = Callable[..., float]
"""`export_onnx` or `export_program`."""
_SIZES = (1, 61, 99), (2, 64, 96), (1, 131, 77)
"""Batch, height, width that a file is checked on: what they are exported from isn't among them."""
_TOLERANCE = {False: 1e-4, True: 2e-2}
"""Largest difference to PyTorch in float32, by whether it is in half precision."""


class AnySize(nn.Module):
    """A generator with its padding in the graph: `(B, 3, H, W)` float in [0, 1], both sides at least `smallest`."""

    def __init__(self, generator: Model, *, half: bool) -> None:
        super().__init__()
        self.generator = generator.eval().half() if half else generator.eval()
        self.multiple_of, self.half_precision = generator.multiple_of, half
        self.smallest = max(generator.min_size, generator.multiple_of + 1)  # at the coarsest, one pixel is a case apart

    def forward(self, blurred: Tensor) -> Tensor:
        height, width = blurred.shape[-2:]
        padded = self._reflected(self._reflected(blurred, 2), 3)
        restored = self.generator.restore(padded.half() if self.half_precision else padded)
        finest = restored if isinstance(restored, Tensor) else restored[-1]
        rows, columns = (torch.arange(size, device=blurred.device) for size in (height, width))
        return finest.index_select(2, rows).index_select(3, columns).float()

    def _reflected(self, images: Tensor, dim: int) -> Tensor:
        """Up to the next multiple; by indices, since padding by 0 is another program for the exporter."""
        size, m = images.shape[dim], self.multiple_of
        at = torch.arange((size + m - 1) // m * m, device=images.device)
        return images.index_select(dim, size - 1 - (size - 1 - at).abs())


def export_onnx(generator: Model, path: Path, *, half: bool = False) -> float:
    """Write an ONNX file, `(B, 3, H, W)` -> the same in [0, 1]; returns its largest difference to PyTorch.

    Raises:
        UserError: The generator can't be exported, gives other images there, or what it takes isn't installed.
    """
    try:
        import onnxscript  # noqa: F401 - what torch.onnx needs
    except ImportError as error:
        raise UserError("--format onnx needs onnxscript and ONNX Runtime: pip install 'deblurlab[onnx]'") from error
    return _export(generator, path, half, _write_onnx, lambda file: OnnxRuntime(file))


def export_program(generator: Model, path: Path, *, half: bool = False) -> float:
    """Write an exported program, which `torch.export.load` reads; returns its largest difference to PyTorch.

    Raises:
        UserError: The generator can't be exported, or gives other images there.
    """

    def load(file: Path) -> Callable[[Tensor], Tensor]:
        program: Callable[[Tensor], Tensor] = torch.export.load(file).module()
        return program

    return _export(generator, path, half, lambda program, file, about: torch.export.save(program, file), load)


def _export(
    generator: Model,
    path: Path,
    half: bool,
    write: Callable[[Any, Path, dict[str, Any]], None],
    load: Callable[[Path], Callable[[Tensor], Tensor]],
) -> float:
    """Export, write beside the place, compare with PyTorch, and only then give the file its name."""
    if path.exists():
        raise UserError(f"{path} exists already: choose another with -o")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {path.parent}: make it first")
    expected = Torch(generator, torch.device("cpu"), channels_last=False)
    random = torch.Generator().manual_seed(0)
    images = [torch.rand(n, 3, *(max(s, generator.min_size) for s in size), generator=random) for n, *size in _SIZES]
    references = [expected(image) for image in images]
    about = {"multiple_of": generator.multiple_of, "reach": expected.reach, "half": half}
    network = AnySize(generator, half=half)
    smallest = network.smallest
    example = torch.rand(2, 3, 2 * smallest + 3, 2 * smallest + 5)
    sides = {side: torch.export.Dim(side, min=smallest, max=1 << 15) for side in ("height", "width")}
    shapes = ({0: torch.export.Dim("batch"), 2: sides["height"], 3: sides["width"]},)
    try:
        with atomic_path(path, unique=True) as temporary, _quiet(), torch.no_grad():
            program = torch.export.export(
                network, (example,), dynamic_shapes=shapes, prefer_deferred_runtime_asserts_over_guards=True
            )
            write(program, temporary, {**about, "smallest": smallest})
            run = load(temporary)
            apart = max(
                float((run(image) - known).abs().max()) for image, known in zip(images, references, strict=True)
            )
            if not apart <= _TOLERANCE[half]:
                raise UserError(f"the exported {path.name} isn't the network: its images differ by up to {apart:.2g}")
    except UserError:
        raise
    except Exception as error:
        name = type(generator).__name__
        raise UserError(f"{name} can't be exported to {path.name} for every size: {first_sentence(error)}") from error
    return apart


def _write_onnx(program: Any, path: Path, about: dict[str, Any]) -> None:
    written = torch.onnx.export(
        program, dynamo=True, input_names=["blurred"], output_names=["restored"], verbose=False, optimize=True
    )
    assert written is not None
    written.model.metadata_props["deblurlab"] = json.dumps(about)
    written.save(path, external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters think aloud."""
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
