"""Any torch data set of blurred and sharp images."""

import threading
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deblurlab.datasets.base import ImageSet, Split
from deblurlab.datasets.frame_store import Image
from deblurlab.datasets.listing import Pair, hold_out
from deblurlab.errors import UserError


class Sampled(NamedTuple):
    """Image of a sample."""

    split: Split
    number: int
    position: int
    """Position in the sample: 0 is the blurred image, 1 the sharp one."""

    def __str__(self) -> str:
        return f"image {self.position} of sample {self.number} of data.{self.split}"


class TorchDataset(ImageSet):
    """Map-style torch data sets whose samples are (blurred, sharp).

    An image is an array `(H, W, 3)` uint8, a tensor `(3, H, W)` uint8, or a tensor `(3, H, W)` of floats in [0, 1],
    which are rounded to 8 bits. Training crops are cut out of the samples by `augment`.

    Args:
        train: Training samples; None to test only.
        val: Validation samples; without them, the last training samples are held out.
        test: Test samples.
        val_share: Share of the training samples that is held out.

    Raises:
        UserError: No data set is given, one isn't map-style, or on use: a sample isn't a pair of images.
    """

    def __init__(
        self,
        *,
        train: Dataset[Any] | None = None,
        val: Dataset[Any] | None = None,
        test: Dataset[Any] | None = None,
        val_share: float = 0.1,
    ) -> None:
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share is {val_share}: it must be between 0 and 1")
        given: dict[str, Any] = {"train": train, "val": val, "test": test}
        self._datasets = {split: dataset for split, dataset in given.items() if dataset is not None}
        if not {"train", "test"} & self._datasets.keys():
            raise UserError("data=torch needs data.train._target_=<torch Dataset>, or data.test to test only")
        for split, dataset in self._datasets.items():
            if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
                raise UserError(
                    f"data.{split} is {type(dataset).__name__}, which isn't a map-style data set: it needs __len__ and "
                    f"__getitem__"
                )
        self._val_share = val_share
        self._latest = _Latest()

    def prepare(self) -> None:
        """Check the first sample of each data set."""
        for split, dataset in self._datasets.items():
            if len(dataset):
                self.read(Sampled(split, 0, 0))  # type: ignore[arg-type]

    def items(self, split: Split) -> list[Pair]:
        """Return the pairs of a split."""
        if split == "test" or "val" in self._datasets or "train" not in self._datasets:
            return self._pairs(split)
        return hold_out(self._pairs("train"), self._val_share)[split == "val"]

    def read(self, reference: Sampled) -> Image:
        """Return an image. A sample is computed once for both of its images, which may be random crops."""
        key = reference.split, reference.number
        if self._latest.key != key:
            self._latest.images = self._sample(*key)
            self._latest.key = key
        return self._latest.images[reference.position]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_latest"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _latest=_Latest())

    def _pairs(self, split: Split) -> list[Pair]:
        count = len(self._datasets[split]) if split in self._datasets else 0
        return [Pair(f"{i:06d}", Sampled(split, i, 0), Sampled(split, i, 1)) for i in range(count)]

    def _sample(self, split: Split, index: int) -> tuple[Image, Image]:
        try:
            sample = self._datasets[split][index]
        except UserError:
            raise
        except Exception as error:  # a user's class may raise any
            raise UserError(f"sample {index} of data.{split}: {type(error).__name__}: {error}") from error
        if not isinstance(sample, (tuple, list)) or len(sample) != 2:
            size = f" of {len(sample)}" if isinstance(sample, (tuple, list)) else ""
            raise UserError(
                f"sample {index} of data.{split} is {type(sample).__name__}{size}: a sample must be (blurred, sharp)"
            )
        blurred, sharp = (_to_image(value, str(Sampled(split, index, i))) for i, value in enumerate(sample))
        return blurred, sharp


class _Latest(threading.local):
    """The sample that this thread read last."""

    key: tuple[str, int] | None = None
    images: tuple[Image, Image]


def _to_image(value: Any, name: str) -> Image:
    """Return an array or tensor as `(H, W, 3)` uint8.

    Raises:
        UserError: It isn't one of the allowed kinds.
    """
    if isinstance(value, Tensor) and value.ndim == 3 and value.shape[0] == 3:
        if value.is_floating_point():
            low, high = (bound.item() for bound in value.aminmax())
            if not (low >= 0 and high <= 1):  # NaN is neither
                raise UserError(f"{name} has values between {low:g} and {high:g}: tensors of floats must be in [0, 1]")
            value = (255 * value.double()).round().to(torch.uint8)
        if value.dtype == torch.uint8:
            return value.permute(1, 2, 0).numpy()
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3:
        return value
    kind = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, (Tensor, np.ndarray)) else ""
    raise UserError(
        f"{name} is {type(value).__name__} {kind}".rstrip()
        + ": images must be RGB arrays (H, W, 3) uint8, or tensors (3, H, W), uint8 or float in [0, 1]"
    )
