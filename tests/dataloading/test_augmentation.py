"""Augmentation: the same transform for both images, a function of the sample's key."""

from collections.abc import Callable
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from deblurlab.config import instantiate, options
from deblurlab.dataloading import Augmentation, DataModule, TorchvisionAugmentation
from deblurlab.datasets import Folders, PairDataset
from deblurlab.datasets.listing import match_pairs
from deblurlab.errors import UserError
from support import config, feeding

WritePairs = Callable[..., tuple[Path, Path]]


def _augmentation(name: str = "flip_rot", size: int = 32) -> Augmentation:
    return instantiate(config(f"augment={name}", f"augment.size={size}").augment)


@pytest.mark.parametrize("name", options("augment"))
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


@pytest.mark.parametrize("name", ["flip_rot", "torchvision_flip_rot"])
def test_flips_and_quarter_turns_give_all_eight_orientations(name: str) -> None:
    image = np.arange(32 * 32 * 3, dtype=np.int64).reshape(32, 32, 3) % 251
    image = image.astype(np.uint8)
    augmentation = _augmentation(name)
    seen = {augmentation(image, image, key=(0, 0, key))[0].tobytes() for key in range(100)}
    turned = [np.rot90(form, k) for form in (image, image[:, ::-1]) for k in range(4)]
    assert seen == {np.ascontiguousarray(form).tobytes() for form in turned}


@pytest.mark.parametrize("name", ["flip_rot", "torchvision_flip_rot", "torchvision_strong"])
def test_a_sample_is_a_function_of_its_key_alone(name: str, write_pairs: WritePairs) -> None:
    pairs, crops = match_pairs(*write_pairs(3)), {32: _augmentation(name)}
    one, other = (PairDataset(pairs, augmentations=crops, seed=5) for _ in range(2))
    _ = [other[7, 1, 32], other[0, 2, 32]]  # other samples first
    assert torch.equal(one[3, 2, 32]["blurred"], other[3, 2, 32]["blurred"])
    different = [
        PairDataset(pairs, augmentations=crops, seed=seed)[epoch, 2, 32]["blurred"]
        for seed, epoch in [(5, 3), (5, 4), (6, 3)]
    ]
    assert not any(torch.equal(different[0], d) for d in different[1:])


@pytest.mark.parametrize("name", ["flip_rot", "torchvision_flip_rot"])
def test_images_smaller_than_the_crop_are_named(name: str, write_pairs: WritePairs) -> None:
    dataset = PairDataset(match_pairs(*write_pairs(1)), augmentations={256: _augmentation(name, size=256)})
    with pytest.raises(UserError, match=r"000.png \(64x48\) can't be augmented: .*augment.size"):
        dataset[0, 0, 256]


@pytest.mark.parametrize("kind", [Augmentation, TorchvisionAugmentation])
def test_transforms_with_another_output_size_are_refused(kind: type, write_pairs: WritePairs) -> None:
    dataset = PairDataset(match_pairs(*write_pairs(1)), augmentations={32: kind(size=32, transforms=[])})
    with pytest.raises(UserError, match=r"return \(48, 64, 3\), not 32x32"):
        dataset[0, 0, 32]


CROP = v2.RandomCrop([32, 32])


def test_torchvision_crops_uniformly_and_keeps_the_pixels() -> None:
    image = np.stack([*np.mgrid[:40, :48], np.zeros((40, 48))], -1).astype(np.uint8)  # a pixel's value is its place
    image.setflags(write=False)  # as in the frame store
    augmentation = _augmentation("torchvision_none")
    corners = np.array([augmentation(image, image, key=(0, 0, index))[1][0, 0, :2] for index in range(400)])
    assert corners.min(0).tolist() == [0, 0]
    assert corners.max(0).tolist() == [40 - 32, 48 - 32]
    assert corners.mean(0) == pytest.approx([4, 8], abs=0.75)  # three standard errors
    top, left = corners[0]
    assert np.array_equal(augmentation(image, image, key=(0, 0, 0))[0], image[top : top + 32, left : left + 32])


def test_torchvision_does_not_change_the_random_numbers_of_the_process() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    augmentation = _augmentation("torchvision_strong")
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(augmentation(image, image, key=(0, 3, 4))[0])
        drawn = torch.rand(1)
        torch.manual_seed(seed)
        assert torch.equal(drawn, torch.rand(1))
    assert np.array_equal(*results)


def test_torchvision_degrades_only_the_blurred_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    noise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.GaussianNoise(), v2.ToDtype(torch.uint8, scale=True)])
    plain = TorchvisionAugmentation(size=32, transforms=[CROP])
    noisy = TorchvisionAugmentation(size=32, transforms=[CROP], degradations=[noise])
    blurred, sharp = noisy(image, image, key=(0, 0, 1))
    assert np.array_equal(sharp, plain(image, image, key=(0, 0, 1))[1])
    assert (blurred.astype(int) - sharp).std() == pytest.approx(255 * 0.1, rel=0.2)
    assert np.array_equal(blurred, noisy(image, image, key=(0, 0, 1))[0])


def test_torchvision_refuses_other_sizes_and_types() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(ValueError, match=r"shape \(48, 64, 3\), the sharp one \(47, 64, 3\)"):
        TorchvisionAugmentation(size=32, transforms=[CROP])(image, image[1:], key=(0,))
    floats = TorchvisionAugmentation(size=32, transforms=[CROP, v2.ToDtype(torch.float32)])
    with pytest.raises(ValueError, match=r"return torch.float32, not uint8"):
        floats(image, image, key=(0,))
    smaller = TorchvisionAugmentation(size=32, transforms=[CROP], degradations=[v2.CenterCrop(16)])
    with pytest.raises(ValueError, match="they may not change the size"):
        smaller(image, image, key=(0,))


def test_torchvision_gives_the_same_samples_with_and_without_workers(write_pairs: WritePairs) -> None:
    blurred, sharp = write_pairs(5)
    batches = []
    for workers in (0, 2):
        module = DataModule(
            data=Folders(blurred=str(blurred), sharp=str(sharp)), size=32, batch_size=2, workers=workers,
            augmentations=lambda size: _augmentation("torchvision_strong", size),
        )  # fmt: skip
        batches.append(list(feeding(module).train_dataloader()))
        module.teardown("fit")
    assert len(batches[0]) == len(batches[1]) > 1
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one["blurred"], other["blurred"])
        assert torch.equal(one["sharp"], other["sharp"])
