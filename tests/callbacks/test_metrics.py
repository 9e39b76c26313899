"""Metrics of sets: means over images, each image once."""

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from deblurlab.callbacks import ImageMetrics, PerImage
from deblurlab.datasets import ImageSet, Pair, Split, Unreferenced
from deblurlab.errors import UserError
from deblurlab.metrics import PSNR, Measurement, Protocol, psnr, sharpness
from support import config


def _metrics(*names: str) -> ImageMetrics:
    return ImageMetrics(Measurement(config(f"metric={'+'.join(names)}").metric, Protocol()))


def test_each_image_counts_once_in_the_order_of_the_set() -> None:
    metric = PerImage()
    for index, value in (([3, 1], [30.0, 10.0]), ([0, 2], [0.0, 20.0]), ([0], [0.0])):
        metric.update(torch.tensor(index), torch.tensor(value))
    assert metric.compute().tolist() == [0.0, 10.0, 20.0, 30.0]


class Darken(pl.LightningModule):
    """Restorer that halves all values."""

    def test_step(self, batch: dict, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        return batch["blurred"] / 255 / 2

    validation_step = test_step


class Images(torch.utils.data.Dataset):
    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (count, 2, 3, 24, 24)
        self.images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        self.images[:, 1] //= torch.arange(1, count + 1).view(-1, 1, 1, 1).to(torch.uint8)  # values differ

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> dict:
        blurred, sharp = self.images[i]
        return {"blurred": blurred, "sharp": sharp, "name": str(i), "index": i}


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_the_mean_over_images_does_not_depend_on_the_batches(batch_size: int) -> None:
    sets, metrics_callback = [Images(5, seed=0), Images(1, seed=1)], _metrics("psnr", "ssim")
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[metrics_callback])
    (logged, second) = trainer.test(Darken(), [DataLoader(s, batch_size=batch_size) for s in sets], verbose=False)
    for images, scores in zip(sets, metrics_callback.scores, strict=True):
        blurred, sharp = (images.images[:, i] / 255 for i in (0, 1))
        np.testing.assert_allclose(scores["psnr"], psnr(blurred / 2, sharp).numpy())
        np.testing.assert_allclose(scores["psnr_blurred"], psnr(blurred, sharp).numpy())
    assert logged["test/psnr"] == pytest.approx(np.mean(metrics_callback.scores[0]["psnr"]))
    assert {**logged, **second}["test/1/ssim"] == pytest.approx(metrics_callback.scores[1]["ssim"][0])
    # torchmetrics' PSNR pools the pixels of all images by default, which gives another value.
    blurred, sharp = (sets[0].images[:, i].flatten(0, 1)[None] / 255 for i in (0, 1))
    assert abs(np.mean(metrics_callback.scores[0]["psnr"]) - psnr(blurred / 2, sharp).item()) > 0.1


def test_blurred_images_are_measured_once_for_all_validations(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    compute = PSNR.compute
    monkeypatch.setattr(PSNR, "compute", lambda self: calls.append(1) or compute(self))
    metrics_callback = _metrics("psnr")
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[metrics_callback])
    loader = DataLoader(Images(3, seed=0))
    first, again = (trainer.validate(Darken(), loader, verbose=False)[0] for _ in range(2))
    assert len(calls) == 3 * 2 + 3
    assert first == again


class Unpaired(Images):
    """Images with unpaired sharp images instead of references."""

    def __getitem__(self, i: int) -> dict:
        sample = super().__getitem__(i)
        other = sample.pop("sharp")[:, :20]
        return {**sample, "unpaired_sharp": other}


def test_images_without_references_are_measured_by_no_reference_metrics() -> None:
    images = Unpaired(3, seed=0)
    metrics_callback = _metrics("psnr", "ssim", "sharpness")
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[metrics_callback])
    (logged,) = trainer.test(Darken(), DataLoader(images), verbose=False)
    assert logged.keys() == {"test/sharpness", "test/sharpness_blurred", "step"}
    blurred = images.images[:, 0].double()
    np.testing.assert_allclose(metrics_callback.scores[0]["sharpness_blurred"], sharpness(blurred).numpy())


def test_metrics_are_restricted_to_those_that_the_data_allow() -> None:
    class Data(ImageSet):
        def __init__(self, *pairs: Pair) -> None:
            self._pairs = list(pairs)

        def items(self, split: Split) -> list[Pair]:
            return self._pairs if split == "val" else []

        def read(self, reference: Path) -> np.ndarray:
            raise NotImplementedError

    pair, unreferenced = Pair("a", Path("a"), Path("b")), Unreferenced("a", Path("a"), Path("b"))
    metrics_callback = _metrics("psnr", "sharpness")
    metrics_callback.check_data(Data(pair))
    assert metrics_callback.measurement.names == ["psnr", "sharpness"]
    metrics_callback.check_data(Data(unreferenced))
    assert metrics_callback.measurement.names == ["sharpness"]
    with pytest.raises(UserError, match=r"no sharp references, which metric=psnr\+ssim needs"):
        _metrics("psnr", "ssim").check_data(Data(unreferenced))
