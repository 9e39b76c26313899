"""Videos with changed headers: refused in one line, reported as damaged, or restored with all of their frames."""

import random
from pathlib import Path

import numpy as np
import pytest

from deblurlab.batch import video
from deblurlab.errors import UserError
from deblurlab.inference.predictor import Restorer
from video_sources import Source, observe, write_source

SOURCES = {
    ".mp4": Source("libx264", tracks=True), ".mov": Source("prores_ks", "yuv422p10le"),
    ".mkv": Source("libx264", tracks=True), ".webm": Source("libvpx-vp9", tracks=True),
}  # fmt: skip
VALUES = [b"\xff" * 4, bytes(4), b"\x7f" + b"\xff" * 3, b"\x80" + bytes(3)]


def _changed(random_numbers: random.Random, content: bytes, header: range) -> bytes:
    """Return a file with one to three changes in its header, or without its end."""
    if random_numbers.random() < 0.1:
        return content[: random_numbers.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(random_numbers.randint(1, 3)):
        at = random_numbers.choice(header)
        new = random_numbers.choice([*VALUES, random_numbers.randbytes(1)])
        changed[at : at + len(new)] = new
    return bytes(changed)


@pytest.mark.parametrize("suffix", SOURCES)
def test_changed_headers(suffix: str, weights: Path, tmp_path: Path) -> None:
    restorer = Restorer.load(weights, device="cpu", strength=0)
    content = write_source(tmp_path / f"x{suffix}", SOURCES[suffix]).read_bytes()
    start = max(0, content.find(b"moov"))
    header, random_numbers = range(start, min(len(content), start + 1500)), random.Random(0)
    complete, messages = 0, list[str]()
    for i in range(40):
        source, target = tmp_path / f"{i}{suffix}", tmp_path / f"out{i}{suffix}"
        source.write_bytes(_changed(random_numbers, content, header))
        try:
            report = video.restore_video(source, target, restorer, max_pixels=10**6)
        except UserError as error:
            messages.append(str(error))
            assert not target.exists(), i
            continue
        if not report.problems:
            complete += 1
            before, after = observe(source), observe(target)
            assert len(after["times"]) == len(before["times"]) == report.frames, i
            upright = np.rot90(before["pixels"], round(before["rotation"] / 90) % 4, axes=(1, 2))
            expected = upright[:, : upright.shape[1] // 2 * 2, : upright.shape[2] // 2 * 2]
            assert after["pixels"].shape == expected.shape, i
            assert np.abs(after["pixels"] - expected).mean() < 0.03, i
    assert complete > 5
    assert [message for message in messages if "\n" in message or str(tmp_path) not in message] == []
