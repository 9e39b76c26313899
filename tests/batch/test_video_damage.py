"""Incomplete and damaged videos: what can be read is restored, the rest is reported."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def _remux(source: Path, target: Path, change: Callable[[int, Any], None]) -> Path:
    """Copy the packets of all streams; `change` gets the number of a packet in its stream, and the packet."""
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        streams = [after.add_stream_from_template(stream, opaque=True) for stream in before.streams]
        numbers = dict.fromkeys(range(len(streams)), 0)
        for packet in before.demux():
            if packet.dts is not None:
                index = packet.stream.index
                change(numbers[index], packet)
                numbers[index] += 1
                packet.stream = streams[index]
                after.mux(packet)
    return target


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


def test_times_that_do_not_increase(restore: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A frame is left out and reported; copied packets are kept at a later time."""

    previous: dict[int, int] = {}

    def change(number: int, packet: Any) -> None:
        if number == 2:
            packet.pts = packet.dts = previous[packet.stream.index]
        previous[packet.stream.index] = packet.dts

    source = H264._replace(options={"g": "1", "bf": "0"}, tracks=True)
    path = _remux(write_source(tmp_path / "y.mkv", source, frames=5), tmp_path / "x.mkv", change)
    assert observe(path)["times"] == [0, 42, 42, 125, 167]
    assert restore("x.mkv", "-o", "out.mp4") == 1  # the muxer of MP4 refuses equal times
    assert "x.mkv: 1 damaged frames were left out" in _lines(capsys)[0]
    assert observe(Path("out.mp4"))["times"] == [0, 42, 125, 167]
    with av.open(str(path)) as before, av.open("out.mp4") as after:
        old, new = ([bytes(p) for p in c.demux(audio=0) if p.size] for c in (before, after))
        assert old == new
