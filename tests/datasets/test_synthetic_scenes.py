"""Synthetic pairs generated during training: different in each epoch, a function of the seed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.config import instantiate
from deblurlab.dataloading import Stage
from deblurlab.dataloading.sampler import KeyedBatchSampler
from deblurlab.datasets import Synthetic
from deblurlab.errors import UserError
from deblurlab.media.images import write_png
from support import config

SMALL = ["data.train=8", "data.val=1", "data.blurs=1", "data.height=64", "data.width=64"]


def _set(root: Path, *overrides: str) -> Synthetic:
    return instantiate(config("data=synthetic_endless", *SMALL, f"data.root={root}", *overrides).data)


def _batches(data: Synthetic, *, epoch: int, workers: int = 0, seed: int = 0) -> list[dict]:
    training = data.training({}, repeat=1, seed=seed)
    order = KeyedBatchSampler(training.sizes, stages=[Stage(0, 40, 4)], seed=seed, step=lambda: 2 * epoch)
    loader = torch.utils.data.DataLoader(training.dataset, batch_sampler=order, num_workers=workers)
    return [training.finish_batch(batch) for batch in loader]  # type: ignore[misc]


def _equal(left: list[dict], right: list[dict]) -> bool:
    keys = ("blurred", "sharp")
    return all(torch.equal(a[key], b[key]) for a, b in zip(left, right, strict=True) for key in keys)


def test_a_seed_and_an_epoch_always_give_the_same_pairs(tmp_path: Path) -> None:
    data = _set(tmp_path)
    first = _batches(data, epoch=3)
    assert first[0]["blurred"].shape == (4, 3, 40, 40)
    assert first[0]["blurred"].dtype == torch.uint8
    assert _equal(first, _batches(data, epoch=3, workers=2))
    assert not _equal(first, _batches(data, epoch=4))
    assert not _equal(first, _batches(data, epoch=3, seed=1))


def test_no_image_is_repeated(tmp_path: Path) -> None:
    data = _set(tmp_path)
    images = [
        image.numpy().tobytes() for e in range(3) for batch in _batches(data, epoch=e) for image in batch["sharp"]
    ]
    assert len(set(images)) == len(images) == 24


def test_only_validation_and_test_pairs_are_on_disk(tmp_path: Path) -> None:
    data = _set(tmp_path)
    data.prepare()
    assert data.items("train") == []
    assert len(data.items("val")) == 1
    assert len(data.tests()["photographs"]) == 5
    assert not (data.folder / "train" / "scenes").exists()


def test_the_settings_of_the_scenes_are_applied(tmp_path: Path) -> None:
    """Without motion, noise and defocus both images are equal; with strong JPEG compression they differ."""
    still = [f"data.scenes.{key}=[0,0]" for key in ("blur_length", "rotation", "objects", "read_noise", "shot_noise")]
    for batch in _batches(_set(tmp_path, *still), epoch=0):
        assert torch.equal(batch["blurred"], batch["sharp"])
    for batch in _batches(_set(tmp_path, *still, "data.scenes.jpeg_quality=[20,20]"), epoch=0):
        assert (batch["blurred"].int() - batch["sharp"].int()).abs().float().mean() > 1


@pytest.mark.slow
def test_a_resumed_training_equals_an_uninterrupted_one(train: Callable[..., Path]) -> None:
    """The weights are equal although the first training was interrupted within an epoch."""
    data = ["data=synthetic_endless", "data.train=12", "data.val=1", "data.blurs=1", "data.height=64", "data.width=64"]
    rest = ["loss=l1", "scheduler=constant", "loader.repeat=1", "trainer.val_check_interval=null"]
    runs = train(*data, *rest, "name=whole", "trainer.max_steps=5").parent
    train(*data, *rest, "name=begun", "trainer.max_steps=2")
    train(*data, *rest, "name=ended", "trainer.max_steps=5", f"ckpt={runs / 'begun/checkpoints/last.ckpt'}")
    weights = [read_checkpoint(runs / name / "checkpoints/last.ckpt")["state_dict"] for name in ("whole", "ended")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_crops_larger_than_the_source_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(2):
        write_png(tmp_path / "photos" / f"{i}.png", np.zeros((200, 200, 3), np.uint8))
    data = _set(tmp_path, f"data.source_images={tmp_path / 'photos'}", "data.scenes.defocus=[0,5]")
    data.training({80: None}, repeat=1, seed=0)  # type: ignore[dict-item]
    with pytest.raises(UserError, match="of the 2 images in"):
        data.training({80: None, 190: None}, repeat=1, seed=0)  # type: ignore[dict-item]
    with pytest.raises(UserError, match="augment.size=5 is too small for data.scenes.defocus"):
        data.training({5: None}, repeat=1, seed=0)  # type: ignore[dict-item]
