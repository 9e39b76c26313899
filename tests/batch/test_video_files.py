"""Videos of other containers, with long names, and with streams beside the main one."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from deblurlab.batch.journal import JOURNAL
from video_sources import RNG, SCENE, Source, observe, write_source

H264 = Source("libx264")
Command = Callable[..., int]


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(("name", "kind"), [("x.avi", "AVI"), ("x.mpg", "MPEG"), ("x.ts", "MPEG transport stream"),
                                            ("x.flv", "FLV"), ("x.ogv", "Ogg")])  # fmt: skip
def test_videos_of_other_containers_are_named(
    restore: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    codec = {"x.mpg": "mpeg2video", "x.flv": "flv", "x.ogv": "libtheora"}.get(name, "libx264")
    if name == "x.ogv":  # PyAV has no encoder of Theora
        Path(name).write_bytes(b"OggS\0\2" + bytes(20) + b"\1\x2a\x80theora")
    else:
        write_source(tmp_path / name, Source(codec, context={"framerate": 25}))
    message = f"deblurlab: {name} is a video ({kind}), which can't be restored: convert it to MP4, MOV, MKV or WebM"
    assert restore(name, "-o", "out") == 1
    assert _lines(capsys) == [message, "0 restored, 1 failed: out/"]
    assert restore(name, "-o", "out.mp4") == 1
    assert _lines(capsys)[0] == message


def test_a_video_with_another_suffix_is_named(
    restore: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_source(tmp_path / "x.mp4", H264).rename("x.jpg")
    write_source(tmp_path / "y.mkv", H264).rename("y.mp4")  # is read as what it is
    write_source(tmp_path / "z.avi", H264).rename("z.mkv")
    restore("x.jpg", "y.mp4", "z.mkv", "-o", "out")
    assert sorted(_lines(capsys)) == [
        "1 restored, 2 failed: out/",
        "deblurlab: x.jpg is a video (MP4): give it the suffix .mp4 or .mov",
        "deblurlab: z.mkv is a video (AVI), which can't be restored: convert it to MP4, MOV, MKV or WebM",
    ]


@pytest.mark.parametrize(
    ("pix_fmt", "arguments", "size", "lost"),
    [
        ("yuv420p", [], (94, 70), "odd sides (95x71 becomes 94x70)"),
        ("yuv420p", ["--side-by-side"], (190, 70), "odd sides (190x71 becomes 190x70)"),
        ("yuv420p10le", [], (94, 70), "odd sides (95x71 becomes 94x70)"),
        ("gray", [], (94, 70), "odd sides (95x71 becomes 94x70)"),
        ("yuv444p", [], (95, 71), ""),
    ],
)
def test_odd_sides_of_subsampled_videos_lose_a_row_or_column_and_it_is_named(
    restore: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    pix_fmt: str, arguments: list[str], size: tuple[int, int], lost: str,
) -> None:  # fmt: skip
    write_source(tmp_path / "x.mkv", Source("ffv1", pix_fmt, size=(95, 71)))
    assert restore("x.mkv", "-o", "out", "--strength", "0", *arguments) == 0
    lines = [line for line in _lines(capsys) if "not kept" in line]
    assert lines == ([f"x.mkv: not kept: {lost}"] if lost else [])
    assert ", ".join(json.loads(Path("out", JOURNAL).read_text())["not_kept"]) == lost
    after = observe(tmp_path / "out" / "x.mkv")["pixels"]
    assert after.shape[1:3] == size[::-1]
    scene = SCENE if pix_fmt != "gray" else cv2.cvtColor(SCENE, cv2.COLOR_RGB2GRAY)[..., None]
    assert np.abs(after[0, :70, :94] - scene[:70, :94] / 255).mean() < 0.02


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "AVIF"])
def test_an_image_with_the_suffix_of_a_video_is_named(
    restore: Command, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    Image.new("RGB", (32, 32)).save("x.mp4", format=kind)
    message = "deblurlab: x.mp4 is an image, not a video: give it the suffix of its format, such as .png"
    for output in ("out", "out.mp4", "out.png"):
        assert restore("x.mp4", "-o", output) == 1
        assert _lines(capsys) == [message, f"0 restored, 1 failed: {output}{'/' * (output == 'out')}"]


def test_the_message_names_the_file_that_is_not_permitted(
    restore: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(tmp_path / "x.mp4", H264)
    opened, refused = av.open, "x.mp4"

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:  # root may open every file
        if name.endswith(refused):
            raise av.error.PermissionError(13, "Permission denied", name)
        return opened(name, *arguments, **options)

    monkeypatch.setattr(av, "open", refuse)
    assert restore("x.mp4", "-o", "out") == 1
    assert _lines(capsys)[0] == "deblurlab: x.mp4 can't be read: Permission denied"
    refused = "trial.segment"
    assert restore("x.mp4", "-o", "out") == 1
    assert _lines(capsys)[0].startswith("deblurlab: out/x.mp4 couldn't be written (")


@pytest.mark.parametrize("name", ["x" * 240 + ".mp4", "é" * 120 + ".mkv"])
def test_names_of_240_bytes(restore: Command, tmp_path: Path, name: str) -> None:
    write_source(tmp_path / name, H264)
    assert restore(name, "-o", "out") == 0
    assert observe(tmp_path / "out" / name)["times"] == observe(tmp_path / name)["times"]
    assert sorted(path.name for path in Path("out").iterdir()) == [".deblurlab.jsonl", name]


def test_the_main_stream_of_several_is_restored_and_the_others_are_copied(restore: Command, tmp_path: Path) -> None:
    """The first stream is one image that isn't marked as a cover."""
    with av.open("x.mkv", "w") as out:
        image: Any = out.add_stream("mjpeg", rate=1, width=32, height=32, pix_fmt="yuvj420p")
        film: Any = out.add_stream("libx264", rate=Fraction(24), width=96, height=64, pix_fmt="yuv420p")
        font = out.add_attachment("a.ttf", "font/ttf", b"letters")
        assert font.type == "attachment"
        scene = RNG.integers(0, 256, (64, 96, 3), np.uint8)
        out.mux(image.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(scene[:32, :32]))))
        out.mux(image.encode(None))
        for _ in range(5):
            out.mux(film.encode(av.VideoFrame.from_ndarray(scene)))
        out.mux(film.encode(None))
    assert restore("x.mkv", "-o", "out") == 0
    with av.open("x.mkv") as before, av.open("out/x.mkv") as after:
        assert [(s.codec_context.name, s.codec_context.width) for s in after.streams.video] == [
            ("h264", 96), ("mjpeg", 32),
        ]  # fmt: skip
        assert [(s.name, s.data) for s in after.streams.attachments] == [("a.ttf", b"letters")]
        assert [s.average_rate for s in after.streams.video] == [24, 1]
        images = [next(c.decode(c.streams.video[i])).to_ndarray() for c, i in ((before, 0), (after, 1))]
        assert np.array_equal(*images)


def test_frames_that_change_their_size_are_refused(
    restore: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second half is that of another video, with its own parameters in the stream."""
    with av.open("x.mkv", "w") as out:
        stream: Any = None
        for side in (64, 96):
            encoder = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = side, side, "yuv420p"  # type: ignore[attr-defined]
            encoder.time_base, encoder.options = Fraction(1, 24), {"bf": "0"}
            frames: list[Any] = []
            for _ in range(3):
                frames += encoder.encode(av.VideoFrame(side, side, "yuv420p"))  # type: ignore[attr-defined]
            frames += encoder.encode(None)  # type: ignore[attr-defined]
            if stream is None:
                stream = out.add_mux_stream("h264", rate=24, width=side, height=side)
            for i, packet in enumerate(frames):
                packet.stream, packet.pts, packet.dts, packet.time_base = stream, i + side, i + side, Fraction(1, 24)
                out.mux(packet)
    assert restore("x.mkv", "-o", "out") == 1
    assert "the frames of x.mkv change their size, format, orientation or interlacing after 4." in _lines(capsys)[0]
    assert not Path("out/x.mkv").exists()


def test_what_is_not_kept_is_named(restore: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_source(tmp_path / "x.mkv", Source("ffv1", "yuv420p12le"))
    assert restore("x.mkv", "-o", "out") == 0
    assert _lines(capsys) == ["x.mkv: not kept: 12 bits per component (10 are stored)", "1 restored: out/"]


def test_data_streams_are_named(restore: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with av.open("x.mp4", "w") as out:
        stream: Any = out.add_stream("libx264", rate=24, width=96, height=64, pix_fmt="yuv420p")
        stream.metadata["timecode"] = "01:02:03:04"  # in a data stream, which isn't lost
        data: Any = out.add_mux_stream("bin_data", time_base=Fraction(1, 24))
        data.metadata["handler_name"] = "GoPro MET"
        out.mux(stream.encode(av.VideoFrame(96, 64, "yuv420p")))
        out.mux(stream.encode(None))
        for i in range(3):
            packet = av.Packet(b"position")
            packet.stream, packet.pts, packet.dts, packet.time_base = data, i, i, Fraction(1, 24)
            out.mux(packet)
    assert restore("x.mp4", "-o", "out") == 0
    assert _lines(capsys) == ["x.mp4: not kept: data stream GoPro MET", "1 restored: out/"]


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv"])
def test_a_title_that_is_not_utf_8_is_kept(restore: Command, tmp_path: Path, name: str) -> None:
    path = write_source(tmp_path / name, H264._replace(tracks=True))
    content = path.read_bytes()
    assert content.count(b"start") > 0  # title of the chapter
    path.write_bytes(content.replace(b"start", b"st\xe4rt"))
    assert restore(name, "-o", "out") == 0
    with av.open(str(tmp_path / "out" / name), metadata_errors="surrogateescape") as container:
        assert container.chapters()[0]["metadata"]["title"] == "st\udce4rt"


def test_streams_that_the_container_cannot_store_are_refused_before_any_work(
    restore: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_source(tmp_path / "x.mp4", H264._replace(tracks=True))
    assert restore("x.mp4", "-o", "out.webm") == 1
    assert _lines(capsys)[0] == (
        "deblurlab: x.mp4 can't be restored to a .webm file: 'webm' format does not support 'aac' codec: "
        "choose another suffix or convert it first"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.mp4"]
