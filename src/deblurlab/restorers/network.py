"""Trained networks as restorers."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deblurlab.checkpoints.load import load_model
from deblurlab.datasets.listing import Item
from deblurlab.inference.bundled import weights_folder
from deblurlab.inference.engines import Engine, Ensemble, Torch
from deblurlab.inference.onnx_engine import OnnxRuntime
from deblurlab.inference.precision import check_precision
from deblurlab.inference.predictor import Restorer
from deblurlab.restorers.base import BaseRestorer, Restored
from deblurlab.restorers.psf import Psf

_LOG = logging.getLogger(__name__)


class _Network(BaseRestorer):
    """A restorer that runs a predictor."""

    def __init__(self, predictor: Restorer) -> None:
        self.predictor = predictor

    def __call__(self, blurred: Tensor, pair: Item) -> Restored:
        """Restore an image, `(3, H, W)` in [0, 1]."""
        return Restored(self.predictor.batch(blurred[None], np.uint8)[0])  # data sets have images of 8 bits

    def warm_up(self, blurred: Tensor, pair: Item) -> None:
        """Run the network once."""
        with suppress(ValueError, RuntimeError):  # only this image fails: its result reports the error
            self(blurred, pair)

    def cost(self) -> dict[str, int]:
        """Return `parameters` and `macs_256`, if the engine can count them."""
        return self.predictor.engine.cost()


class Checkpoint(_Network):
    """A trained generator from a run folder, a checkpoint, a release or a bundled model.

    Args:
        path: The run folder (its best checkpoint is used), file or name; weights of other projects as well.
        trust: Packages and classes outside of deblurlab that the checkpoint may name, besides those of the environment
            variable DEBLURLAB_TRUST. They are imported and run.
        channels_last: Use the channels-last memory format.
        tile: Side of a tile in pixels; 0 restores each image as a whole.
        ensemble: Average over eight flips and quarter turns.
        precision: "fp32", "bf16", or "auto" as in `Restorer.load`. It applies once `prepare` has been called.

    Raises:
        UserError: The checkpoint can't be read, or names a class that is neither a model of deblurlab nor in `trust`,
            or the precision is unknown.
    """

    def __init__(
        self,
        *,
        path: str,
        trust: Sequence[str] = (),
        channels_last: bool = True,
        tile: int = 0,
        ensemble: bool = False,
        precision: str = "fp32",
    ) -> None:
        check_precision(precision)
        self._model, self._precision = load_model(weights_folder(path), trust=trust), precision
        self._channels_last, self._tile, self._ensemble = channels_last, tile, ensemble
        super().__init__(self._predictor(torch.device("cpu"), "fp32"))

    def prepare(self, device: torch.device, psf: Psf) -> None:
        """Move the network to the device and choose the precision.

        Raises:
            UserError: The network can't run with the precision.
        """
        self.predictor = self._predictor(device, self._precision)
        if self._precision != "fp32":
            _LOG.info("restorer.precision=%s: %s", self._precision, self.predictor.engine.precision)

    def _predictor(self, device: torch.device, precision: str) -> Restorer:
        engine: Engine = Torch(self._model, device, channels_last=self._channels_last, precision=precision)
        return Restorer(Ensemble(engine) if self._ensemble else engine, tile=self._tile)


class Onnx(_Network):
    """A network in an ONNX file, run by ONNX Runtime.

    The model has one input and one output, `(B, 3, H, W)` float in [0, 1], of any height and width.

    Raises:
        UserError: ONNX Runtime isn't installed, or the file can't be used.
    """

    def __init__(self, *, path: str) -> None:
        super().__init__(Restorer(OnnxRuntime(Path(path)), tile=0))
