"""Names of files that aren't UTF-8, or that a terminal would obey."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblurlab.batch import local
from deblurlab.batch.journal import JOURNAL
from deblurlab.inference.predictor import Restorer

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
CAFE, FOLDER = os.fsdecode(b"caf\xe9"), os.fsdecode(b"in/\xfcber")


@pytest.fixture(autouse=True)
def _bytes_as_names(tmp_path: Path) -> None:
    try:
        (tmp_path / CAFE).touch()
    except OSError:
        pytest.skip("this file system has only names in Unicode")
    (tmp_path / CAFE).unlink()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp", ".jpg", ".avif"])
@pytest.mark.parametrize("in_memory", [1000, 16_000_000])
def test_names_that_are_not_utf8_are_restored_skipped_and_shown(
    restore: Callable[..., int],
    weights: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    in_memory: int,
) -> None:
    """In a folder, alone, and in the journal; also as the name of the folder."""
    monkeypatch.setattr(local, "IN_MEMORY", in_memory)
    monkeypatch.setattr("deblurlab.media.large_image_writer.IN_MEMORY", in_memory)
    source, name = Path(FOLDER, CAFE + suffix), Path(FOLDER).name
    source.parent.mkdir(parents=True)
    Image.fromarray(PIXELS).save(source)
    assert restore("in", "-o", "out") == 0
    restored = Path("out", name, CAFE + suffix)
    if suffix in (".png", ".tif", ".bmp"):
        expected = Restorer.load(weights, device="cpu").restore(PIXELS)
        assert np.array_equal(np.asarray(Image.open(restored)), expected)
    assert json.loads(Path("out", JOURNAL).read_text())["target"] == f"{name}/{CAFE}{suffix}"
    capsys.readouterr()
    assert restore("in", "-o", "out") == 0
    assert capsys.readouterr().err == "0 restored, 1 skipped: out/\n"
    assert restore(source, "-o", f"{CAFE}/x{suffix}") == 0
    assert Path(CAFE, f"x{suffix}").read_bytes() == restored.read_bytes()
    capsys.readouterr()
    assert restore(source, "-o", f"{CAFE}/x{suffix}", "--strength", 0) == 1
    assert capsys.readouterr().err.startswith(
        f"deblurlab: caf\\xe9/x{suffix} exists already, not from these settings: --overwrite replaces it\n"
    )


def test_ten_bits_are_written_to_a_folder_that_is_not_utf8(restore: Callable[..., int]) -> None:
    import pyvips

    image = pyvips.Image.new_from_array(PIXELS.astype(np.uint16) * 257).copy(interpretation="rgb16")
    image.heifsave("x.avif", compression="av1", bitdepth=10)
    assert restore("x.avif", "-o", CAFE) == 0
    assert Path(CAFE, "x.avif").read_bytes()[4:12] == b"ftypavif"


def test_a_damaged_file_spoils_no_other(restore: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """libvips has one buffer for the messages of all threads."""
    for i in range(10):
        Path(FOLDER).mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS).save(Path(FOLDER, f"{i}.png"))
        Path(FOLDER, f"{CAFE}{i}.png").write_bytes(Path(FOLDER, f"{i}.png").read_bytes()[:3000])
        Path(FOLDER, f"text{CAFE}{i}.png").write_text("text")
    assert restore("in", "-o", "out") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "10 restored, 20 failed: out/"
    assert sum("in/\\xfcber/caf\\xe9" in line and "is damaged or truncated" in line for line in lines) == 10
    assert sum("in/\\xfcber/textcaf\\xe9" in line and "isn't an image that can be read" in line for line in lines) == 10


def test_a_name_is_one_line_without_control_characters(
    restore: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in").mkdir()
    Path("in/\x1b[31mred\n.png").write_text("text")
    assert restore("in", "-o", "out") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(r"deblurlab: in/\x1b[31mred\n.png isn't an image that can be read")
