"""Samples of pairs: what an augmentation may return."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deblurlab.datasets.listing import match_pairs
from deblurlab.datasets.samples import PairDataset
from deblurlab.errors import UserError
from deblurlab.media.images import read_image

SIZE = 16


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda x, y: (x / 255, y / 255), r"returned float64 of shape \(16, 16, 3\) for"),
        (lambda x, y: (x[1:], y[1:]), r"returned uint8 of shape \(15, 16, 3\) .* augment.size=16, \(16, 16, 3\) uint8"),
        (lambda x, y: x, "returned ndarray instead of two images"),
        (lambda x, y: (x, [1]), "returned list for"),
    ],
)
def test_results_of_an_own_augmentation_are_checked(
    write_pairs: Callable[..., tuple[Path, Path]], transform: Callable[..., Any], message: str
) -> None:
    def own(blurred: np.ndarray, sharp: np.ndarray, *, key: tuple[int, ...]) -> Any:
        return transform(blurred[:SIZE, :SIZE], sharp[:SIZE, :SIZE])

    dataset = PairDataset(match_pairs(*write_pairs(1)), augmentations={SIZE: own}, seed=0, reader=read_image)
    with pytest.raises(UserError, match=f"augment: .*own {message}"):
        dataset[0, 0, SIZE]
