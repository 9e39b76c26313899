"""Incomplete and damaged videos: what can be read is restored, the rest is reported."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from deblurlab.media.containers import missing_end
from video_sources import Source, observe, write_source

H264 = Source("libx264")
Command = Callable[..., int]


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_an_mp4_without_its_index_is_incomplete(
    restore: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = write_source(tmp_path / "x.mp4", H264).read_bytes()
    at = content.index(b"moov") - 4
    (tmp_path / "x.mp4").write_bytes(content[:at])
    (tmp_path / "y.mp4").write_bytes(content[: at - 10])
    assert restore("x.mp4", "y.mp4", "-o", "out") == 1
    assert _lines(capsys)[:2] == [
        "deblurlab: x.mp4 can't be read as a video: it is incomplete (its index (moov) is missing, as after an "
        "interrupted recording or transfer)",
        f"deblurlab: y.mp4 can't be read as a video: it is incomplete (it ends after {at - 10} of {at} bytes or more)",
    ]


@pytest.mark.parametrize("name", ["x.mkv", "x.webm", "x.mp4"])
def test_of_a_video_without_its_end_the_rest_is_restored(
    restore: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """The MP4 file begins with its index."""
    source = Source("libvpx-vp9" if name == "x.webm" else "libx264", tracks=True)
    path = write_source(
        tmp_path / name, source, frames=30, options={"movflags": "faststart"} if name == "x.mp4" else {}
    )
    content, all_times = path.read_bytes(), observe(path)["times"]
    assert missing_end(path) == ""
    size = len(content) * 9 // 10
    path.write_bytes(content[:size])
    assert restore(name, "-o", "out") == 1
    (message,) = [line for line in _lines(capsys) if "incomplete" in line]
    assert f"{name}: the video is incomplete (it ends after {size} of {len(content)} bytes" in message
    assert message.endswith("what could be read was restored")
    times = observe(tmp_path / "out" / name)["times"]
    assert 5 <= len(times) < 30
    assert times == all_times[: len(times)]


def test_incomplete_boxes_and_segments(tmp_path: Path) -> None:
    """Sizes by hand: boxes of 8, 24 (with a 64-bit length) and 8 bytes; a segment of 5 bytes after 5 + 4 + 1."""
    path, box = tmp_path / "x", struct.Struct(">I4s").pack
    boxes = box(8, b"ftyp") + box(1, b"mdat") + struct.pack(">Q", 24) + bytes(8) + box(8, b"moov")
    matroska = b"\x1aE\xdf\xa3\x80" + b"\x18S\x80g\x85" + bytes(5)
    for content, missing in [
        (boxes, ""),
        (boxes[:-8], "its index (moov) is missing, as after an interrupted recording or transfer"),
        (boxes[:-12], "it ends after 28 of 32 bytes or more"),
        (boxes[:-8] + box(0, b"moov") + bytes(3), ""),  # up to the end
        (boxes[:8] + box(4, b"moov"), ""),  # no box: the decoder decides
        (matroska, ""),
        (matroska[:-1], "it ends after 14 of 15 bytes"),
        (matroska.replace(b"\x85", b"\xff")[:-1], ""),  # of unknown length
        (matroska[:7], ""),
        (b"\x1aE\xdf\xa3\0", ""),
        (b"", ""),
    ]:
        path.write_bytes(content)
        assert missing_end(path) == missing, content


def _set_time(path: Path, stream: int, number: int, ticks: int) -> None:
    """Change the time of a packet of a Matroska file: the two bytes before its flags and data."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(container.streams[stream]) if packet.size]
    at = 0
    for packet in packets[: number + 1]:
        at = content.index(packet, at + 1)
    content[at - 3 : at - 1] = ticks.to_bytes(2, "big")
    path.write_bytes(content)


@pytest.mark.parametrize("number", [3, 8])
def test_a_frame_that_cannot_be_decoded_is_left_out_and_reported(
    restore: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    path = write_source(tmp_path / "x.mkv", H264._replace(options={"g": "1", "bf": "0"}), frames=10)
    times, content = observe(path)["times"], bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        data = bytes(packets[number])
    at = content.index(data)
    content[at : at + len(data)] = b"\xff" * len(data)
    path.write_bytes(content)
    assert restore("x.mkv", "-o", "out") == 1
    assert "x.mkv: 1 damaged frames were left out" in _lines(capsys)[0]
    assert observe(Path("out/x.mkv"))["times"] == times[:number] + times[number + 1 :]


def test_times_that_decrease(restore: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A frame is left out and reported; copied packets are kept at a later time."""
    path = write_source(tmp_path / "x.mkv", H264._replace(options={"g": "1", "bf": "0"}, tracks=True), frames=5)
    _set_time(path, 0, 2, 21)
    _set_time(path, 1, 3, 2)
    assert observe(path)["times"] == [0, 42, 21, 125, 167]
    assert restore("x.mkv", "-o", "out") == 1
    assert "x.mkv: 1 damaged frames were left out" in _lines(capsys)[0]
    assert observe(Path("out/x.mkv"))["times"] == [0, 42, 125, 167]
    with av.open(str(path)) as before, av.open("out/x.mkv") as after:
        old, new = ([bytes(p) for p in c.demux(audio=0) if p.size] for c in (before, after))
        assert old == new


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv"])
def test_frames_at_very_irregular_times_are_kept(restore: Command, tmp_path: Path, name: str) -> None:
    times = [0, 3, 4, 100, 101, 102, 400, 401, 1000]
    write_source(tmp_path / name, H264, frames=len(times), times=times)
    assert restore(name, "-o", "out") == 0
    expected = [round(1001 * time / 24) for time in times]
    assert observe(Path("out") / name)["times"] == pytest.approx(expected, abs=1)
