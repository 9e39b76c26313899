"""Properties of tiling for any tile size and any image size."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from torch import Tensor

from deblurlab.errors import UserError
from deblurlab.inference.engines import Engine
from deblurlab.inference.tiling import Span, Tiling, choose_tiling, restore_rows
from deblurlab.media.pixels import InMemory


class Blocks(Engine):
    """Means of blocks with the side of the stride and of the neighbouring blocks.

    An error of one pixel changes the result. For multiples of 1/8 the result is exact in floating point.
    """

    def __init__(self, stride: int) -> None:
        self.multiple_of = stride

    @property
    def receptive_radius(self) -> int:
        return 2 * self.multiple_of

    def __call__(self, blurred: Tensor) -> Tensor:
        height, width = blurred.shape[2:]
        bottom, right = -height % self.multiple_of, -width % self.multiple_of
        means = F.avg_pool2d(F.pad(blurred, (0, right, 0, bottom)), self.multiple_of)
        around = F.avg_pool2d(means, 3, 1, 1, divisor_override=16)
        return F.interpolate(around, scale_factor=self.multiple_of)[:, :, :height, :width] + blurred / 4


class Same(Engine):
    def __init__(self, stride: int) -> None:
        self.multiple_of = stride

    def __call__(self, blurred: Tensor) -> Tensor:
        return blurred


class Checked(InMemory):
    """Rows that fail if they are read beyond the end."""

    def read(self, count: int) -> np.ndarray:
        pixels = super().read(count)
        assert len(pixels) == count
        return pixels


class Case(NamedTuple):
    height: int
    width: int
    tile: int | None
    overlap: int | None


strides = st.sampled_from([1, 2, 4, 8])
small = st.builds(Case, st.integers(1, 90), st.integers(1, 90), st.integers(0, 60), st.none() | st.integers(0, 70))
large = st.builds(
    Case, st.integers(1, 30000), st.integers(1, 30000), st.none() | st.integers(0, 5000),
    st.none() | st.integers(0, 3000),
)  # fmt: skip


def _tiling(engine: Engine, case: Case) -> Tiling:
    try:
        return choose_tiling(engine, case.height, case.width, tile=case.tile, overlap=case.overlap)
    except UserError:
        reject()


def _image(case: Case, dtype: type, seed: int = 0) -> np.ndarray:
    eighths = np.random.default_rng(seed).integers(0, 9, (case.height, case.width, 3))
    return (eighths / 8).astype(np.float32) if dtype == np.float32 else (eighths * 31).astype(dtype)


def _restored(engine: Engine, image: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Restore an image and check that each row is yielded once, in order."""
    bands = list(restore_rows(engine, Checked(image), tiling))
    assert all(len(blurred) == len(restored) > 0 for blurred, restored in bands)
    assert np.array_equal(np.concatenate([blurred for blurred, _ in bands]), image)
    restored = np.concatenate([restored for _, restored in bands])
    assert (restored.shape, restored.dtype) == (image.shape, image.dtype)
    return restored


def _check_spans(spans: list[Span], length: int, tiling: Tiling) -> None:
    assert (spans[0].tile_start, spans[-1].tile_stop) == (0, length)
    assert all(before.tile_stop == after.tile_start for before, after in pairwise(spans))
    for span in spans:
        assert 0 <= span.start <= span.tile_start < span.tile_stop <= span.stop <= length
        assert span.start % tiling.stride == 0
        assert span.stop % tiling.stride == 0 or span.stop == length
        assert span.start == 0 or span.tile_start - span.start >= tiling.overlap
        assert span.stop == length or span.stop - span.tile_stop >= tiling.overlap
        assert not tiling.tile or span.tile_stop - span.tile_start <= tiling.tile
    for before, after in zip(spans, spans[2:], strict=False):  # at most two are blended
        assert before.tile_stop + tiling.ramp <= after.tile_start - tiling.ramp or not tiling.ramp


@given(small | large, strides, st.none() | st.integers(0, 900))
@settings(max_examples=300)
def test_tiles_cover_each_pixel_once_and_windows_are_inside_the_image(
    case: Case, stride: int, receptive_radius: int | None
) -> None:
    class Local(Engine):
        multiple_of = stride

        @property
        def receptive_radius(self) -> int | None:
            return receptive_radius

    tiling = _tiling(Local(), case)
    for length in (case.height, case.width):
        _check_spans(tiling.spans(length), length, tiling)
    if tiling.exact and tiling.tile:
        assert receptive_radius is not None
        assert tiling.overlap >= receptive_radius
    if case.overlap is not None and tiling.tile:
        assert tiling.overlap >= case.overlap


@given(small, strides, st.integers(0, 99))
@settings(max_examples=60)
def test_exact_tiles_equal_the_whole_image(case: Case, stride: int, seed: int) -> None:
    engine, image = Blocks(stride), _image(case, np.float32, seed)
    tiling = _tiling(engine, case)
    assume(tiling.exact)
    expected = engine(torch.from_numpy(image).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    assert np.array_equal(_restored(engine, image, tiling), expected)


@given(small, strides, st.sampled_from([np.uint8, np.uint16, np.float32]))
@settings(max_examples=60)
def test_blending_weights_sum_to_one(case: Case, stride: int, dtype: type) -> None:
    engine, image = Same(stride), _image(case, dtype)
    restored = _restored(engine, image, _tiling(engine, case))
    assert np.allclose(restored, image, rtol=0, atol=1e-6)
