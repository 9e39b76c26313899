"""Matching of the files of two folders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deblurlab.datasets.listing import match_pairs
from deblurlab.errors import UserError
from deblurlab.media.images import write_png

WritePairs = Callable[..., tuple[Path, Path]]

GREY = np.full((16, 16, 3), 128, np.uint8)


def test_pairs_are_matched_by_relative_path_up_to_the_suffix(tmp_path: Path) -> None:
    for name in ("b/1.png", "b/2.png", "a.png"):
        for side in ("blurred", "sharp"):
            (tmp_path / side / name).parent.mkdir(parents=True, exist_ok=True)
            write_png(tmp_path / side / name, GREY)
    (tmp_path / "sharp" / "a.png").rename(tmp_path / "sharp" / "a.bmp")
    pairs = match_pairs(tmp_path / "blurred", tmp_path / "sharp")
    assert [pair.name for pair in pairs] == ["a", "b/1", "b/2"]
    assert pairs[0].sharp.name == "a.bmp"
    assert [pair.group for pair in pairs] == ["", "b", "b"]


def test_files_without_a_counterpart_are_refused_naming_them(write_pairs: WritePairs) -> None:
    blurred, sharp = write_pairs(5)
    (sharp / "001.png").unlink()
    with pytest.raises(
        UserError, match=rf"5 images in {blurred}, 4 in {sharp}: 001 of {blurred} without a file of the same name"
    ):
        match_pairs(blurred, sharp)
    (blurred / "001.png").unlink()
    write_png(sharp / "extra.png", GREY)
    with pytest.raises(UserError, match=f"extra of {sharp} without a file of the same name"):
        match_pairs(blurred, sharp)


def test_files_that_differ_in_their_suffix_only_are_refused(write_pairs: WritePairs) -> None:
    blurred, sharp = write_pairs(2)
    write_png(blurred / "000.bmp", GREY)
    with pytest.raises(UserError, match="several files called 000"):
        match_pairs(blurred, sharp)
