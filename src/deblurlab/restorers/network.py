"""Restorers: whatever turns a blurred image into a restored one."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from deblurlab.checkpoints.load import load_model
from deblurlab.datasets.base import Pair
from deblurlab.errors import UserError
from deblurlab.inference.bundled import weights_folder
from deblurlab.inference.engines import Engine, Ensemble, OnnxRuntime, Torch
from deblurlab.inference.images import unpack
from deblurlab.inference.tiling import WINDOW, InMemory, Pixels, Rows, Tiling, choose, restored_rows
from deblurlab.restorers.psf import Psf
from deblurlab.runs.environment import torch_device


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

    @staticmethod
    def load(
        weights: str | Path | None = None,
        *,
        device: str = "auto",
        engine: str = "torch",
        tile: int | None = None,
        overlap: int | None = None,
        strength: float = 1.0,
        ensemble: bool = False,
        trust: Sequence[str] = (),
    ) -> "Network":
        """A trained network, ready to restore pictures.

        Args:
            weights: A release, a run's folder, a checkpoint, an ONNX file, or the name of a model that comes with
                deblurlab, as does the default.
            device: "auto" takes a GPU if there is one; otherwise as PyTorch calls it.
            engine: "torch", or "onnxruntime", which needs an ONNX file.
            tile: Side of the tiles that large images are restored in, in pixels; None chooses, 0 never cuts.
            overlap: Of neighbouring windows, to each side; None chooses.
            strength: Of the restored image in the result, 0 to 1; the rest is the blurred one's.
            ensemble: Whether to take the mean over eight flips and quarter turns: better, and eight times slower.
            trust: Classes from outside of deblurlab that the weights may name.

        Raises:
            UserError: There is no such thing, or it can't be read or trusted.
        """
        if not 0 <= strength <= 1:
            raise UserError(f"the strength must be between 0 and 1, not {strength:g}")
        for name, value in (("tile", tile), ("overlap", overlap)):
            if value is not None and value < 0:
                raise UserError(f"the {name} must be a number of pixels, not {value}")
        path = weights_folder(weights)
        loaded: Engine
        if path.suffix.lower() == ".onnx":
            loaded = OnnxRuntime(path, device)
        elif engine == "torch":
            loaded = Torch(load_model(path, trust=trust), torch_device(device))
        else:
            raise UserError(
                f"the engine {engine} needs an ONNX file: deblurlab export {path} -o model.onnx --format onnx"
            )
        return Network(Ensemble(loaded) if ensemble else loaded, tile=tile, overlap=overlap, strength=strength)

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


class Network(Restorer):
    """A network, in windows where an image is large. Calls from several threads at once are fine."""

    def __init__(
        self, engine: Engine, *, tile: int | None = None, overlap: int | None = None, strength: float = 1.0
    ) -> None:
        self.engine, self.strength = engine, strength
        self._tile, self._overlap = tile, overlap

    @property
    def settings(self) -> str:
        """The same if the same image is restored to the same."""
        return f"{self.engine.fingerprint()} strength={self.strength:g} tile={self._tile} overlap={self._overlap}"

    def tiling(self, height: int, width: int) -> Tiling:
        """How an image of this size is cut."""
        return choose(self.engine, height, width, tile=self._tile, overlap=self._overlap)

    def restore(self, pictures: Any) -> Any:
        """Restore a picture, or each of a list of them, those of one size together.

        A picture is a path, a `PIL.Image`, an array `(H, W, 3)`, `(H, W)` or `(N, H, W, 3)` of uint8, uint16 or floats
        in [0, 1], or a tensor `(3, H, W)` or `(N, 3, H, W)` of floats in [0, 1]. It comes back as what it was, a path
        as the array that the file holds; transparency stays as it is.

        Raises:
            UserError: A file can't be read, or a picture is none of these.
        """
        several = isinstance(pictures, (list, tuple))
        opened = [unpack(picture) for picture in (pictures if several else [pictures])]
        sizes: dict[tuple[int, ...], list[int]] = {}
        for i, one in enumerate(opened):
            sizes.setdefault(tuple(one.images.shape[-2:]), []).append(i)
        done: dict[int, Any] = {}
        for alike in sizes.values():
            restored = self.batch(torch.cat([opened[i].images for i in alike]))
            parts = torch.split(restored, [len(opened[i].images) for i in alike])
            done |= {i: opened[i].pack(part) for i, part in zip(alike, parts, strict=True)}
        return [done[i] for i in range(len(opened))] if several else done[0]

    def batch(self, blurred: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [0, 1] on the CPU -> the same, not clamped where it is restored whole."""
        height, width = blurred.shape[-2:]
        tiling = self.tiling(height, width)
        if tiling.tile:
            images = (InMemory(image.permute(1, 2, 0).contiguous().numpy()) for image in blurred)
            whole = [np.concatenate([restored for _, restored in self.rows(image)]) for image in images]
            return torch.from_numpy(np.stack(whole)).permute(0, 3, 1, 2)
        few = max(1, WINDOW**2 // (height * width))
        restored = torch.cat([self.engine(part) for part in torch.split(blurred, few)])
        return restored if self.strength == 1 else torch.lerp(blurred, restored.clamp(0, 1), self.strength)

    def rows(self, image: Rows) -> Iterator[tuple[Pixels, Pixels]]:
        """Restore an image that is read from the top to the bottom; yields (blurred, restored), some rows at a time,
        with what else there is beside colours as it is."""
        tiling = self.tiling(image.height, image.width)
        for blurred, restored in restored_rows(self.engine, image, tiling, strength=self.strength):
            beside = blurred[..., image.colours :]
            yield blurred, np.concatenate([restored, beside], axis=2) if beside.size else restored
            del blurred, restored, beside  # or they are held while the next are made

    def __call__(self, blurred: Tensor, pair: Pair) -> Restored:
        return Restored(self.batch(blurred[None])[0])

    def warm_up(self, blurred: Tensor, pair: Pair) -> None:
        with suppress(ValueError, RuntimeError):  # that image's misfortune
            self(blurred, pair)

    def cost(self) -> dict[str, int]:
        return self.engine.cost()


class Checkpoint(Network):
    """A trained generator: a run's best checkpoint, a checkpoint, a release, or the name of a bundled model; restored
    whole unless `tile` says otherwise.

    Raises:
        UserError: It can't be read, or names a class that is neither a model of deblurlab nor in `trust`.
    """

    def __init__(
        self, *, path: str, trust: Sequence[str] = (), channels_last: bool = True, tile: int = 0, ensemble: bool = False
    ) -> None:
        self._model = load_model(weights_folder(path), trust=trust)
        self._channels_last, self._ensemble = channels_last, ensemble
        super().__init__(self._engine(torch.device("cpu")), tile=tile)

    def prepare(self, device: torch.device, psf: Psf) -> None:
        self.engine = self._engine(device)

    def _engine(self, device: torch.device) -> Engine:
        engine = Torch(self._model, device, channels_last=self._channels_last)
        return Ensemble(engine) if self._ensemble else engine


class Onnx(Network):
    """A network in an ONNX file, run by ONNX Runtime: one input and one output, `(1, 3, H, W)` float in [0, 1], of any
    height and width.

    Raises:
        UserError: ONNX Runtime isn't installed, or the file can't be used.
    """

    def __init__(self, *, path: str) -> None:
        super().__init__(OnnxRuntime(Path(path)), tile=0)
