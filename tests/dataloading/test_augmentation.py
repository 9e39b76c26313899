"""Augmentation: the same transform for both images, a function of the sample's key."""

from collections.abc import Callable
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch

from deblurlab.config import instantiate
from deblurlab.dataloading import Augmentation
from deblurlab.datasets import PairDataset
from deblurlab.datasets.listing import match_pairs
from deblurlab.errors import UserError
from support import config

WritePairs = Callable[..., tuple[Path, Path]]


def _augmentation(name: str = "flip_rot", size: int = 32) -> Augmentation:
    return instantiate(config(f"augment={name}", f"augment.size={size}").augment)


CROPS = {32: _augmentation()}


@pytest.mark.parametrize("name", ["flip_rot", "none", "paper", "strong"])
def test_both_images_get_the_same_transform(name: str) -> None:
    image = np.random.default_rng(0).integers(0, 200, (48, 64, 3), dtype=np.uint8)
    augmentation = _augmentation(name)
    for key in range(20):
        blurred, sharp = augmentation(image, image, key=(0, 0, key))
        assert blurred.shape == (32, 32, 3)
        assert np.array_equal(blurred, sharp)


def test_only_the_blurred_image_is_degraded() -> None:
    image = np.full((48, 64, 3), 100, np.uint8)
    noise = A.GaussNoise(std_range=(0.1, 0.1), p=1.0)
    augmentation = Augmentation(size=32, transforms=[A.RandomCrop(32, 32)], degradations=[noise])
    blurred, sharp = augmentation(image, image, key=(0, 0, 1))
    assert np.array_equal(sharp, np.full((32, 32, 3), 100, np.uint8))
    assert blurred.std() > 10
    assert np.array_equal(blurred, augmentation(image, image, key=(0, 0, 1))[0])
    moving = Augmentation(size=32, transforms=[A.RandomCrop(32, 32)], degradations=[A.RandomCrop(16, 16)])
    with pytest.raises(ValueError, match="they may not change the size"):
        moving(image, image, key=(0, 0, 1))


def test_cutblur_pastes_a_rectangle_of_one_image_into_the_other() -> None:
    blurred, sharp = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    augmentation = Augmentation(size=32, transforms=[A.NoOp()], cutblur=0.5)
    shares = []
    for key in range(300):
        mixed, target = augmentation(blurred, sharp, key=(0, 0, key))
        assert np.array_equal(target, sharp)
        rows, columns = (mixed[..., 0] == 255).nonzero()
        if 0 < len(rows) < 32 * 32:
            inside = mixed if len(rows) < 512 else 255 - mixed
            rows, columns = inside[..., 0].nonzero()
            box = inside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert (box == 255).all()  # a full rectangle
        shares.append((mixed == 255).mean())
    untouched = np.mean([share == 0 for share in shares])
    assert untouched == pytest.approx(0.5, abs=0.1)
    assert np.mean([share > 0.5 for share in shares]) == pytest.approx(0.25, abs=0.08)


def test_flips_and_quarter_turns_give_all_eight_orientations() -> None:
    image = np.arange(32 * 32 * 3, dtype=np.int64).reshape(32, 32, 3) % 251
    image = image.astype(np.uint8)
    augmentation = _augmentation()
    seen = {augmentation(image, image, key=(0, 0, key))[0].tobytes() for key in range(100)}
    turned = [np.rot90(form, k) for form in (image, image[:, ::-1]) for k in range(4)]
    assert seen == {np.ascontiguousarray(form).tobytes() for form in turned}


def test_a_sample_is_a_function_of_its_key_alone(write_pairs: WritePairs) -> None:
    pairs = match_pairs(*write_pairs(3))
    one, other = (PairDataset(pairs, augmentations=CROPS, seed=5) for _ in range(2))
    _ = [other[7, 1, 32], other[0, 2, 32]]  # other samples first
    assert torch.equal(one[3, 2, 32]["blurred"], other[3, 2, 32]["blurred"])
    different = [
        PairDataset(pairs, augmentations=CROPS, seed=seed)[epoch, 2, 32]["blurred"]
        for seed, epoch in [(5, 3), (5, 4), (6, 3)]
    ]
    assert not any(torch.equal(different[0], d) for d in different[1:])


def test_images_smaller_than_the_crop_are_named(write_pairs: WritePairs) -> None:
    dataset = PairDataset(match_pairs(*write_pairs(1)), augmentations={256: _augmentation(size=256)})
    with pytest.raises(UserError, match=r"000.png \(64x48\) can't be augmented: .*augment.size"):
        dataset[0, 0, 256]


def test_transforms_with_another_output_size_are_refused(write_pairs: WritePairs) -> None:
    dataset = PairDataset(match_pairs(*write_pairs(1)), augmentations={32: Augmentation(size=32, transforms=[])})
    with pytest.raises(UserError, match=r"return \(48, 64, 3\), not 32x32"):
        dataset[0, 0, 32]
