"""Photographs as sources of scenes: decoded once, reduced by averaging, never enlarged."""

from pathlib import Path

import numpy as np
import pytest

from deblurlab.datasets import photographs
from deblurlab.datasets.photographs import Photographs, find_photographs
from deblurlab.errors import UserError
from deblurlab.media.images import read_image, write_png


def _write(folder: Path, *images: np.ndarray) -> list[Path]:
    folder.mkdir()
    for i, image in enumerate(images):
        write_png(folder / f"{i}.png", image)
    return sorted(folder.iterdir())


def _coordinates(height: int, width: int) -> np.ndarray:
    """Return an image whose pixels tell their row and column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)


def _source(files: list[Path], side: tuple[int, int] | None) -> Photographs:
    source = Photographs(files[0].parent, files, store=files[0].parent.with_name("store"), side=side)
    source.prepare()
    return source


def test_half_size_crops_are_means_of_2x2_pixels(tmp_path: Path) -> None:
    fine = _coordinates(60, 80).repeat(2, axis=0).repeat(2, axis=1)
    source = _source(_write(tmp_path / "photos", fine, fine), (80, 80))
    for seed in range(20):
        crop = source(np.random.default_rng(seed), 16, 24)
        assert crop.shape == (16, 24, 3)
        top, left = crop[..., 0].min(), crop[..., 1].min()
        expected = _coordinates(60, 80)[top : top + 16, left : left + 24]
        assert np.array_equal(crop, expected) or np.array_equal(crop, expected[:, ::-1])


def test_reduction_is_drawn_between_the_sides(tmp_path: Path) -> None:
    """The range of columns in a crop shows its reduction: a photograph of 200 pixels, reduced to 100..200 pixels."""
    files = _write(tmp_path / "photos", *[_coordinates(200, 200)] * 2)
    source = _source(files, (100, 400))
    spans = [np.ptp(source(np.random.default_rng(seed), 50, 50)[..., 1].astype(int)) for seed in range(300)]
    assert min(spans) == 49  # never enlarged
    assert 92 <= max(spans) <= 99
    # Half of the draws of 100..400 on a logarithmic scale are above 200 pixels, where the photograph stays as it is.
    assert np.mean(np.array(spans) == 49) == pytest.approx(0.5, abs=0.1)


def test_crop_is_never_larger_than_the_reduced_photograph(tmp_path: Path) -> None:
    source = _source(_write(tmp_path / "photos", *[_coordinates(90, 250)] * 2), (60, 250))
    for seed in range(50):
        assert source(np.random.default_rng(seed), 88, 88).shape == (88, 88, 3)


def test_photographs_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = _write(tmp_path / "photos", *[_coordinates(100, 120)] * 3)
    decoded: list[Path] = []
    monkeypatch.setattr(photographs, "read_image", lambda path: (decoded.append(path), read_image(path))[1])
    for _ in range(2):
        source = _source(files, (60, 110))
        for seed in range(10):
            source(np.random.default_rng(seed), 32, 32)
    assert sorted(decoded) == files


def test_changed_photograph_is_decoded_again(tmp_path: Path) -> None:
    files = _write(tmp_path / "photos", *[_coordinates(100, 120)] * 2)
    _source(files, None)
    for file in files:
        write_png(file, np.full((100, 120, 3), 7, np.uint8))
    assert (_source(files, None)(np.random.default_rng(0), 20, 20) == 7).all()


def test_photographs_must_hold_the_crop_after_reduction(tmp_path: Path) -> None:
    files = _write(tmp_path / "photos", *[_coordinates(100, 200)] * 2, _coordinates(60, 60))
    assert find_photographs(files[0].parent, None, 100, 100) == files[:2]
    assert find_photographs(files[0].parent, (10, 100), 50, 50) == files
    with pytest.raises(UserError, match="of the 3 images in .*, 0 have at least 51x51 pixels"):
        find_photographs(files[0].parent, (10, 50), 51, 51)
    for side in ((90, 80), (80,), (0, 80), (70, 80, 90), (70.5, 80), 80):
        with pytest.raises(UserError, match=r"source_side=.*: two whole numbers of pixels, the smaller one first"):
            find_photographs(files[0].parent, side, 50, 50)  # type: ignore[arg-type]


def test_parts_share_the_decoded_photographs(tmp_path: Path) -> None:
    levels = [np.full((40, 40, 3), level, np.uint8) for level in (10, 20, 30)]
    files = _write(tmp_path / "photos", *levels)
    store = tmp_path / "store"
    parts = [
        Photographs(tmp_path / "photos", files, part=part, store=store, side=None)
        for part in (slice(-1), slice(-1, None))
    ]
    parts[0].prepare()
    assert all(part.is_prepared() for part in parts)
    drawn = [{int(part(np.random.default_rng(seed), 8, 8)[0, 0, 0]) for seed in range(30)} for part in parts]
    assert drawn == [{10, 20}, {30}]
    parts[0].delete()
    assert not store.exists()
