"""Restoration of images with a trained network."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deblurlab.checkpoints.load import load_model
from deblurlab.errors import UserError
from deblurlab.inference.bundled import weights_folder
from deblurlab.inference.engines import Engine, Ensemble, Torch
from deblurlab.inference.images import unpack
from deblurlab.inference.onnx_engine import OnnxRuntime
from deblurlab.inference.precision import check_precision
from deblurlab.inference.tiling import WINDOW, Tiling, choose_tiling, restore_rows
from deblurlab.media.pixels import InMemory, Pixels, Rows
from deblurlab.runs.environment import resolve_device


class Restorer:
    """A trained network that restores images, in tiles where an image is large. Thread-safe.

    `Restorer.load` loads one from weights.

    Args:
        engine: Runs the network.
        tile: Side of a tile in pixels; None chooses one for large images, 0 disables tiling.
        overlap: Overlap of neighbouring windows on each side in pixels; None chooses it.
        strength: Weight w of the restored image, 0 to 1: the result is w restored + (1 - w) blurred.

    Example:
        >>> restorer = Restorer.load(device="cpu")  # the bundled model
        >>> restorer.restore(np.zeros((20, 30, 3), np.uint8)).shape
        (20, 30, 3)
    """

    def __init__(
        self, engine: Engine, *, tile: int | None = None, overlap: int | None = None, strength: float = 1.0
    ) -> None:
        self.engine, self.strength = engine, strength
        self._tile, self._overlap = tile, overlap

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        *,
        device: str = "auto",
        engine: str = "torch",
        tile: int | None = None,
        overlap: int | None = None,
        strength: float = 1.0,
        ensemble: bool = False,
        precision: str = "auto",
        trust: Sequence[str] = (),
    ) -> "Restorer":
        """Load a trained network.

        Args:
            weights: A release, a run folder, a checkpoint, weights that another project published, an ONNX file or the
                name of a bundled model; None is the default bundled model.
            device: A PyTorch device; "auto" is a GPU if there is one.
            engine: "torch", or "onnxruntime", which needs an ONNX file.
            tile: Side of a tile in pixels; None chooses one for large images, 0 disables tiling.
            overlap: Overlap of neighbouring windows on each side in pixels; None chooses it.
            strength: Weight w of the restored image, 0 to 1: the result is w restored + (1 - w) blurred.
            ensemble: Average over eight flips and quarter turns: more accurate, eight times slower.
            precision: "fp32"; "bf16", which is faster on some processors and GPUs, for all images; or "auto": bf16 for
                images of uint8 if the device has bf16 instructions and a probe image differs by less than half a level
                of 255 on average from fp32, else fp32. The bundled model differs by about 0.1 (docs/restoring.md).
                `engine.precision` says what was chosen.
            trust: Packages and classes outside of deblurlab that the weights may name, besides those of the environment
                variable DEBLURLAB_TRUST. They are imported and run.

        Raises:
            UserError: The weights are missing, unreadable or not trusted, or an argument is out of range.
        """
        if not 0 <= strength <= 1:
            raise UserError(f"the strength must be between 0 and 1, not {strength:g}")
        for name, value in (("tile", tile), ("overlap", overlap)):
            if value is not None and value < 0:
                raise UserError(f"the {name} must be a number of pixels, not {value}")
        path = weights_folder(weights)
        loaded: Engine
        if path.suffix.lower() == ".onnx":
            if precision != "auto":
                raise UserError(f"precision={precision} can't be chosen for {path}: an ONNX file has its own precision")
            loaded = OnnxRuntime(path, device)
        elif engine == "torch":
            check_precision(precision)
            loaded = Torch(load_model(path, trust=trust), resolve_device(device), precision=precision)
        else:
            raise UserError(
                f"the engine {engine} needs an ONNX file: deblurlab export {path} -o model.onnx --format onnx"
            )
        return cls(Ensemble(loaded) if ensemble else loaded, tile=tile, overlap=overlap, strength=strength)

    @property
    def settings(self) -> str:
        """Identifier of the weights, precision and options. Equal settings restore an image to equal results."""
        return f"{self.engine.fingerprint()} strength={self.strength:g} tile={self._tile} overlap={self._overlap}"

    def tiling(self, height: int, width: int) -> Tiling:
        """Return the tiling of an image of this size."""
        return choose_tiling(self.engine, height, width, tile=self._tile, overlap=self._overlap)

    def restore(self, images: Any) -> Any:
        """Restore an image, or each image of a list. Images of equal size are restored together.

        An image is a path, a `PIL.Image`, an array `(H, W, 3)`, `(H, W)` or `(N, H, W, 3)` of uint8, uint16 or floats
        in [0, 1], or a tensor `(3, H, W)` or `(N, 3, H, W)` of floats in [0, 1]. The result has the same type; for
        a path it is an array. An alpha channel is kept. Paths and `PIL.Image`s with an EXIF orientation give upright
        images; the result of a `PIL.Image` has its profile and EXIF in `info`.

        Raises:
            UserError: A file can't be read, an image has another type, or floats are outside of [0, 1].
        """
        is_list = isinstance(images, (list, tuple))
        opened = [unpack(image) for image in (images if is_list else [images])]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for i, one in enumerate(opened):
            groups.setdefault((one.dtype, *one.images.shape[-2:]), []).append(i)
        results: dict[int, Any] = {}
        for (dtype, *_), indices in groups.items():
            restored = self.batch(torch.cat([opened[i].images for i in indices]), dtype)
            parts = torch.split(restored, [len(opened[i].images) for i in indices])
            results |= {i: opened[i].pack(part) for i, part in zip(indices, parts, strict=True)}
        return [results[i] for i in range(len(opened))] if is_list else results[0]

    def batch(self, blurred: Tensor, dtype: npt.DTypeLike = np.float32) -> Tensor:
        """Restore `(N, 3, H, W)` in [0, 1] on the CPU. The result has the same shape and is clamped only if tiled.

        Args:
            blurred: The images.
            dtype: Type of the images that the tensor was made from, which decides the precision.
        """
        height, width = blurred.shape[-2:]
        tiling, engine = self.tiling(height, width), self.engine.for_images(dtype)
        if tiling.tile:
            images = (InMemory(image.permute(1, 2, 0).contiguous().numpy()) for image in blurred)
            bands = (restore_rows(engine, image, tiling, strength=self.strength) for image in images)
            tiled = [np.concatenate([restored for _, restored in rows]) for rows in bands]
            return torch.from_numpy(np.stack(tiled)).permute(0, 3, 1, 2)
        batch_size = max(1, WINDOW**2 // (height * width))
        restored = torch.cat([engine(part) for part in torch.split(blurred, batch_size)])
        return restored if self.strength == 1 else torch.lerp(blurred, restored.clamp(0, 1), self.strength)

    def rows(self, image: Rows) -> Iterator[tuple[Pixels, Pixels]]:
        """Restore an image that is read from top to bottom.

        Yields:
            `(blurred, restored)`, each `(n, W, C)`, the next rows of the image. Alpha channels are copied.
        """
        tiling, engine = self.tiling(image.height, image.width), self.engine.for_images(image.read(0).dtype)
        for blurred, restored in restore_rows(engine, image, tiling, strength=self.strength):
            alpha = blurred[..., image.colours :]
            yield blurred, np.concatenate([restored, alpha], axis=2) if alpha.size else restored
            del blurred, restored, alpha  # frees memory before the next rows are computed
