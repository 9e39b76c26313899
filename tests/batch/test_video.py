"""Restoration of videos: frames keep their times; audio, subtitles and metadata are copied."""

import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from deblurlab.batch import video
from deblurlab.cli.restore import restore as restore_command
from deblurlab.errors import UserError
from deblurlab.inference.predictor import Restorer
from deblurlab.media.video import VideoReader

RNG = np.random.default_rng(0)
SCENE = cv2.resize(RNG.integers(0, 256, (30, 40, 3), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def restorer(weights: Path) -> Restorer:
    return Restorer.load(weights, device="cpu")


def _video(path: Path, frames: int = 30, *, times: list[int] | None = None, pix_fmt: str = "yuv420p") -> Path:
    """Write a video of a moving scene with a tone; `times` in units of 1001/30000 s."""
    webm = path.suffix == ".webm"
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "holiday"
        stream = out.add_stream("libvpx-vp9" if webm else "libx264", rate=Fraction(30000, 1001))
        stream.width, stream.height, stream.pix_fmt = 96, 64, pix_fmt  # type: ignore[union-attr]
        audio_stream = out.add_stream("libopus" if webm else "aac", rate=48000)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(SCENE[i : i + 64, 2 * i : 2 * i + 96]), format="rgb24"
            )
            frame.pts, frame.time_base = times[i] if times else i, Fraction(1001, 30000)
            out.mux(stream.encode(frame))  # type: ignore[union-attr, arg-type]
        out.mux(stream.encode(None))  # type: ignore[union-attr]
        for i in range(int(frames * 1.6)):
            tone = (np.sin(np.arange(960 * i, 960 * i + 960) / 17) / 3).astype(np.float32)[None]
            audio = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            audio.sample_rate, audio.pts, audio.time_base = 48000, 960 * i, Fraction(1, 48000)
            out.mux(audio_stream.encode(audio))  # type: ignore[union-attr, arg-type]
        out.mux(audio_stream.encode(None))  # type: ignore[union-attr]
    return path


def _frames(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def _audio(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


@pytest.mark.parametrize("name", ["x.mp4", "x.mov", "x.mkv", "x.webm"])
def test_frame_times_audio_and_title_are_kept(restorer: Restorer, tmp_path: Path, name: str) -> None:
    times = [i + i // 3 for i in range(30)]  # unevenly spaced
    source, target = _video(tmp_path / name, times=times), tmp_path / f"out{Path(name).suffix}"
    report = video.restore_video(source, target, restorer)
    before, after = _frames(source), _frames(target)
    assert [frame.time for frame in after] == pytest.approx([frame.time for frame in before])
    assert (report.frames, report.broken, report.resumed) == (30, 0, 0)
    assert np.array_equal(_audio(source), _audio(target))
    with av.open(str(target)) as container:
        assert container.metadata.get("title", container.metadata.get("TITLE")) == "holiday"
    for old, new in zip(before, after, strict=True):
        expected = restorer.restore(old.to_ndarray(format="rgb24")).astype(float)
        assert np.abs(new.to_ndarray(format="rgb24") - expected).mean() < 6  # error of the encoder
        assert np.abs(old.to_ndarray(format="rgb24") - expected).mean() > 12


def test_ten_bits_are_kept_and_side_by_side_doubles_the_width(restorer: Restorer, tmp_path: Path) -> None:
    source = _video(tmp_path / "x.mp4", 5, pix_fmt="yuv420p10le")
    video.restore_video(source, tmp_path / "out.mp4", restorer, side_by_side=True)
    after = _frames(tmp_path / "out.mp4")
    assert {(frame.width, frame.height, frame.format.name) for frame in after} == {(192, 64, "yuv420p10le")}
    left = after[0].to_ndarray(format="rgb24")[:, :96].astype(int)
    assert np.abs(left - _frames(source)[0].to_ndarray(format="rgb24")).mean() < 8  # chroma subsampling


def test_rotated_videos_are_turned_upright(restorer: Restorer, tmp_path: Path) -> None:
    source = _video(tmp_path / "x.mp4", 3)
    content = source.read_bytes()
    at = content.index(b"tkhd") + 4 + 40  # the display matrix of the track: a quarter turn
    assert content[at : at + 4] == (1 << 16).to_bytes(4, "big")
    matrix = b"".join(value.to_bytes(4, "big", signed=True) for value in (0, 1 << 16, 0, -(1 << 16), 0, 0, 64 << 16, 0))
    source.write_bytes(content[:at] + matrix + content[at + 32 :])
    before = _frames(source)[0]
    assert before.rotation != 0
    video.restore_video(source, tmp_path / "out.mp4", restorer)
    after = _frames(tmp_path / "out.mp4")[0]
    assert (after.width, after.height, after.rotation) == (64, 96, 0)
    upright = np.rot90(before.to_ndarray(format="rgb24"), round(before.rotation / 90) % 4)
    expected = restorer.restore(np.ascontiguousarray(upright)).astype(float)
    assert np.abs(after.to_ndarray(format="rgb24") - expected).mean() < 6


_RESTORE = """
import sys
from pathlib import Path
from deblurlab.batch import video
from deblurlab.inference.predictor import Restorer
video.SEGMENT = 4
video.restore_video(Path(sys.argv[1]), Path(sys.argv[2]), Restorer.load(sys.argv[3], device="cpu", precision="fp32"))
"""


def test_an_interrupted_restoration_resumes(
    restorer: Restorer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restoration that is killed (SIGKILL) and resumed equals an uninterrupted one.

    Up to single pixels: two processes may round differently, and the encoder amplifies that.
    """
    monkeypatch.setattr(video, "SEGMENT", 4)
    source = _video(tmp_path / "x.mp4", 30)
    video.restore_video(source, tmp_path / "once.mp4", restorer)
    process = subprocess.Popen([sys.executable, "-c", _RESTORE, str(source), str(tmp_path / "out.mp4"), str(weights)])
    until = time.monotonic() + 60
    while len(list(tmp_path.glob(".*.parts/*.nut"))) < 2 and time.monotonic() < until:
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not (tmp_path / "out.mp4").exists()
    report = video.restore_video(source, tmp_path / "out.mp4", restorer)
    assert report.frames == 30
    assert 8 <= report.resumed < 30
    assert report.resumed % 4 == 0
    once, twice = _frames(tmp_path / "once.mp4"), _frames(tmp_path / "out.mp4")
    assert [frame.time for frame in once] == [frame.time for frame in twice]
    pixels, resumed = (
        np.stack([frame.to_ndarray(format="rgb24") for frame in video]).astype(int) for video in (once, twice)
    )
    assert np.abs(pixels - resumed).mean(axis=(1, 2, 3)).max() < 0.2
    assert np.abs(np.diff(pixels, axis=0)).mean(axis=(1, 2, 3)).min() > 5  # exchanged frames would differ by more
    assert sorted(path.name for path in tmp_path.iterdir()) == ["once.mp4", "out.mp4", "x.mp4"]


def test_broken_frames_are_counted_and_the_others_restored(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source = _video(Path("x.mp4"), 30)
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.pos is not None and packet.size]
    broken = packets[10]
    content = bytearray(source.read_bytes())
    content[broken.pos : broken.pos + broken.size] = bytes(RNG.integers(0, 256, broken.size, np.uint8))
    source.write_bytes(content)
    Path("empty.mp4").touch()
    Path("text.mkv").write_text("hello")
    _video(Path("good.mp4"), 3)
    with pytest.raises(SystemExit) as end:
        restore_command(
            ["x.mp4", "empty.mp4", "text.mkv", "good.mp4", "-o", "out", "--weights", str(weights), "--fps-report"]
        )
    assert end.value.code == 1
    errors = capsys.readouterr().err.splitlines()
    assert len([line for line in errors if "x.mp4: " in line and "damaged frames were left out" in line]) == 1
    assert len([line for line in errors if "empty.mp4 can't be read as a video" in line]) == 1
    assert len([line for line in errors if "text.mkv can't be read as a video" in line]) == 1
    assert len([line for line in errors if "good.mp4: 3 frames in" in line and "per second" in line]) == 1
    assert len(_frames(Path("out/x.mp4"))) >= 20
    assert len(_frames(Path("out/good.mp4"))) == 3


def test_a_second_process_is_refused(restorer: Restorer, tmp_path: Path) -> None:
    source = _video(tmp_path / "x.mp4", 3)

    class Twice(Restorer):
        def rows(self, image: Any) -> Any:
            with pytest.raises(UserError, match="by another process"):
                video.restore_video(source, tmp_path / "out.mp4", restorer)
            return super().rows(image)

    video.restore_video(source, tmp_path / "out.mp4", Twice(restorer.engine))
    assert len(_frames(tmp_path / "out.mp4")) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "x.mp4"]


def test_too_large_frames_are_refused(restorer: Restorer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the frames of .* have more than --max-pixels 1000"):
        video.restore_video(_video(tmp_path / "x.mp4", 2), tmp_path / "out.mp4", restorer, max_pixels=1000)
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_reported(restorer: Restorer, tmp_path: Path) -> None:
    """The disk has 64 kB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], capture_output=True).returncode:
        pytest.skip("mounting is not permitted")
    try:
        with pytest.raises(UserError, match=r"out\.mp4 couldn't be written \(.*No space"):
            video.restore_video(_video(tmp_path / "x.mp4", 60), small / "out.mp4", restorer)
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.slow
def test_memory_is_constant(restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most two frames are decoded ahead of the one that is restored."""
    source = _video(tmp_path / "x.mp4", 30)
    decoded, ahead = VideoReader.frames, []
    count = 0

    def counted(reader: VideoReader) -> Any:
        nonlocal count
        for frame in decoded(reader):
            count += 1
            yield frame

    class Watched(Restorer):
        def rows(self, image: Any) -> Any:
            ahead.append(count - len(ahead))
            return super().rows(image)

    monkeypatch.setattr(VideoReader, "frames", counted)
    video.restore_video(source, tmp_path / "out.mp4", Watched(restorer.engine))
    assert len(ahead) == 30
    assert max(ahead) <= 2


def test_a_missing_pyav_is_reported(restorer: Restorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'deblurlab\[video\]'"):
        video.restore_video(tmp_path / "x.mp4", tmp_path / "out.mp4", restorer)
