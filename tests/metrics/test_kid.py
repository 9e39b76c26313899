"""The kernel Inception distance equals its formula."""

import logging

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from deblurlab.callbacks import ImageMetrics
from deblurlab.metrics import Measurement, Protocol
from deblurlab.metrics.inception import InceptionFeatures


class Images(torch.utils.data.Dataset):
    """Blurred images and unpaired sharp images, of two sizes."""

    def __init__(self, count: int, side: int = 170) -> None:
        generator = torch.Generator().manual_seed(0)
        self.blurred = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
        self.other = torch.randint(0, 200, (count, 3, 80, 2 * side), dtype=torch.uint8, generator=generator)

    def __len__(self) -> int:
        return len(self.blurred)

    def __getitem__(self, i: int) -> dict:
        return {"blurred": self.blurred[i], "unpaired_sharp": self.other[i], "name": str(i), "index": i}


class Darken(pl.LightningModule):
    def validation_step(self, batch: dict, batch_idx: int) -> Tensor:
        return batch["blurred"] // 2 / 255


def _kid(patch: int) -> ImageMetrics:
    node = {"_target_": "deblurlab.metrics.KID", "weights": "random", "patch": patch}
    return ImageMetrics(Measurement({"kid": node}, Protocol()))


def _validate(callback: ImageMetrics, images: Images) -> dict[str, float]:
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[callback])
    return trainer.validate(Darken(), DataLoader(images, generator=torch.Generator()), verbose=False)[0]


def _distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return the unbiased squared MMD with the kernel (x.y / d + 1)^3 (Bińkowski et al., ICLR 2018, section 4)."""
    kernel = lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3  # noqa: E731
    n, m = len(x), len(y)
    xx, yy = kernel(x, x), kernel(y, y)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * kernel(x, y).mean())


def test_it_is_the_unbiased_distance_of_unscaled_patches() -> None:
    images, features = Images(3), InceptionFeatures(weights="random", key=None)
    callback = _kid(patch=80)
    state = torch.get_rng_state()
    logged = [_validate(callback, images) for _ in range(2)]
    assert torch.equal(state, torch.get_rng_state())
    assert logged[0] == logged[1]

    def features_of(patches: list[Tensor]) -> np.ndarray:
        return features(torch.stack(patches)).double().numpy()

    tiles = [(top, left) for top in (5, 85) for left in (5, 85)]  # two in 170, from the middle
    blurred = [image[:, top : top + 80, left : left + 80] for image in images.blurred for top, left in tiles]
    sharp = [image[:, :, left : left + 80] for image in images.other for left in (10, 90, 170, 250)]
    real = features_of(sharp)
    assert logged[0]["val/kid_blurred"] == pytest.approx(_distance(real, features_of(blurred)), abs=1e-5)
    restored = features_of([patch // 2 for patch in blurred])
    assert logged[0]["val/kid"] == pytest.approx(_distance(real, restored), abs=1e-5)


def test_a_set_with_one_patch_is_not_measured(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert _validate(_kid(patch=400), Images(1, side=80)) == {}
    assert "val/kid is not measured: it is undefined for these images" in caplog.text
