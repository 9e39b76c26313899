"""Properties of videos: kept with the same value, converted, or refused before any work."""

import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from deblurlab.batch import video
from deblurlab.config import CONF
from deblurlab.errors import UserError
from deblurlab.inference.predictor import Restorer
from support_tables import markdown
from video_sources import MASTERING, MASTERING_VALUES, Source, observe, write_source

H264, VP9, FFV1, PRORES = Source("libx264"), Source("libvpx-vp9"), Source("ffv1"), Source("prores_ks")
HEVC_HDR = Source(
    "libx265",
    "yuv420p10le",
    {"x265-params": f"hdr10=1:master-display={MASTERING}:max-cll=1000,400:log-level=none"},
    {"color_primaries": 9, "color_trc": 16, "colorspace": 9, "color_range": 1},
)
CONTAINERS = {".mp4": "MP4 (H.264)", ".mov": "MOV (H.264)", ".mkv": "MKV (H.264)", ".webm": "WebM (VP9)"}

CODECS = {
    "libx264": "H.264", "libx264rgb": "H.264", "libx265": "HEVC", "libvpx-vp9": "VP9", "libsvtav1": "AV1",
    "ffv1": "FFV1", "prores_ks": "ProRes", "png": "PNG",
}  # fmt: skip


class Case(NamedTuple):
    """A property of a video in a container, and what becomes of it."""

    property: str
    container: str
    """Suffix of the restored video."""
    outcome: str
    """Kept, converted or refused."""
    source: Source
    same: tuple[str, ...] = ()
    """Names in `observe` of what has the same value."""
    values: Mapping[str, Any] = {}
    """Expected values by their name in `observe`; for pixels, the function that changes those of the source."""
    message: str = ""
    """Part of the message, if it is refused."""
    source_container: str = ""
    """Suffix of the source, if it isn't that of the restored video."""


def cases(name: str, outcome: str, sources: Mapping[str, Source], *same: str, **values: Any) -> Iterator[Case]:
    """Yield a case per container."""
    for container, source in sources.items():
        yield Case(name, container, outcome, source, same, **values)


def h264(*containers: str, **changes: Any) -> dict[str, Source]:
    """Return sources in H.264 by container."""
    return {f".{container}": H264._replace(**changes) for container in containers or ("mp4", "mov", "mkv")}


def everywhere(**changes: Any) -> dict[str, Source]:
    """Return sources in H.264, and VP9 for WebM."""
    return {**h264(**changes), ".webm": VP9._replace(**changes)}


def turned(*rotation: Any) -> dict[str, Source]:
    """Return sources with a display matrix."""
    return everywhere(rotation=(*rotation, False, False)[:3])


def pixels(function: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    """Return how pixels `(N, H, W, 3)` are values."""
    return {"pixels": function}


BT2020 = {"color_primaries": 9, "color_trc": 14, "colorspace": 9, "color_range": 1}
ANAMORPHIC = {"sample_aspect_ratio": Fraction(4, 3)}
INTERLACED = {"flags": "+ildct+ilme"}
VIDEO_PROPERTIES = [
    *cases("frame rate, times of the frames", "kept", everywhere(), "rate", "times"),
    *cases("10 bits", "kept", {
        ".mp4": H264._replace(pix_fmt="yuv420p10le"), ".mov": PRORES._replace(pix_fmt="yuv422p10le"),
        ".mkv": FFV1._replace(pix_fmt="yuv420p10le"),
    }, "bits", "chroma"),
    *cases("10 bits", "refused", {".webm": Source("libsvtav1", "yuv420p10le")}, message="10 bits per component"),
    *cases("12 bits", "converted (10 bits)", {
        ".mp4": Source("libx265", "yuv420p12le", {"x265-params": "log-level=none"}),
        ".mov": PRORES._replace(pix_fmt="yuv444p10le"), ".mkv": FFV1._replace(pix_fmt="yuv420p12le"),
    }, "chroma", values={"bits": 10}),
    *cases("chroma 4:2:2", "kept", {**everywhere(pix_fmt="yuv422p"), ".mkv": FFV1._replace(pix_fmt="yuv422p")},
           "bits", "chroma"),
    *cases("chroma 4:4:4", "kept", {**everywhere(pix_fmt="yuv444p"), ".mkv": FFV1._replace(pix_fmt="yuv444p")},
           "bits", "chroma"),
    *cases("grey", "converted (4:2:0, full range)", {
        ".mov": Source("png", "gray"), ".mkv": FFV1._replace(pix_fmt="gray"),
    }, "bits", values={"chroma": [48, 32], "colours": (2, 2, 2, 2)}),
    *cases("grey of 10 bits", "converted (4:2:0, full range)", {".mkv": FFV1._replace(pix_fmt="gray10le")},
           "bits", values={"chroma": [48, 32], "colours": (2, 2, 2, 2)}),
    *cases("RGB", "converted (4:4:4, BT.709)", {
        ".mp4": Source("libx264rgb", "rgb24"), ".mov": Source("png", "rgb24"), ".mkv": FFV1._replace(pix_fmt="bgr0"),
        ".webm": VP9._replace(pix_fmt="gbrp"),
    }, "bits", "chroma", values={"colours": (1, 2, 2, 1)}),
    *cases("transparency", "refused", {
        ".mp4": Source("png", "rgba"), ".mov": PRORES._replace(pix_fmt="yuva444p10le"),
        ".mkv": FFV1._replace(pix_fmt="yuva420p"), ".webm": VP9._replace(pix_fmt="yuva420p"),
    }, message="transparency"),
    *cases("full range", "kept", everywhere(context={"color_range": 2}), "colours", "bits"),
    *cases("full range of 10 bits", "kept", h264(pix_fmt="yuv420p10le", context={"color_range": 2}), "colours", "bits"),
    *cases("primaries, transfer function, matrix", "kept", everywhere(context=BT2020), "colours"),
    *cases("HDR10: mastering display, light level", "kept", dict.fromkeys([".mp4", ".mov", ".mkv"], HEVC_HDR),
           "colours", "bits", "mastering", "light"),
    *cases("HDR10: mastering display, light level", "refused",
           {".webm": H264._replace(options={"x264-params": f"mastering-display={MASTERING}:cll=1000,400"})},
           message="HDR mastering display metadata and HDR content light level", source_container=".mp4"),
    *cases("interlaced frames", "refused", h264(options=INTERLACED), message="interlaced frames, which"),
    *cases("interlaced frames", "refused", {".webm": H264._replace(options=INTERLACED)}, message="interlaced frames",
           source_container=".mkv"),
    *cases("aspect ratio of pixels", "kept", h264(context=ANAMORPHIC), "aspect"),
    *cases("aspect ratio of pixels", "refused", {".webm": H264._replace(context=ANAMORPHIC)},
           message="pixels of aspect ratio 4:3", source_container=".mp4"),
    *cases("quarter turn", "converted (upright)", turned(90), values=pixels(lambda p: np.rot90(p, 1, (1, 2)))),
    *cases("half turn", "converted (upright)", turned(180), values=pixels(lambda p: np.rot90(p, 2, (1, 2)))),
    *cases("mirror image", "converted (upright)", turned(0, True), values=pixels(lambda p: p[:, :, ::-1])),
    *cases("mirror image, upside down", "converted (upright)", turned(0, False, True),
           values=pixels(lambda p: p[:, ::-1])),
    *cases("mirror image of a quarter turn", "converted (upright)", turned(90, True),
           values=pixels(lambda p: np.rot90(p, 1, (1, 2))[:, :, ::-1])),
    *cases("aspect ratio and quarter turn", "converted (upright)",
           h264(rotation=(-90, False, False), context=ANAMORPHIC),
           values={"aspect": Fraction(3, 4), **pixels(lambda p: np.rot90(p, 3, (1, 2)))}),
    *cases("turn by another angle", "refused", turned(45), message="no quarter turn"),
    *cases("two views (3D)", "kept", {
        ".mkv": H264._replace(metadata={"stereo_mode": "left_right"}),
        ".webm": VP9._replace(metadata={"stereo_mode": "left_right"}),
    }, values={"views": bytes([1, 0, 0, 0])}),
    *cases("cover image", "kept", h264("mp4", "mkv", cover=True), "rate", values={"covers": [("png", 32)]}),
    *cases("time code of the start", "kept", h264(metadata={"timecode": "01:02:03:04"}),
           values={"timecode": "01:02:03:04"}),
    *cases("chapters, languages, dispositions", "kept", everywhere(tracks=True, metadata={"language": "fra"}),
           "chapters", "audio", "language"),
]  # fmt: skip


@pytest.fixture(scope="module")
def unvalues(weights: Path) -> Restorer:
    """A restorer that returns the blurred images."""
    return Restorer.load(weights, device="cpu", strength=0)


@pytest.mark.parametrize("case", VIDEO_PROPERTIES, ids=lambda case: f"{case.property}{case.container}")
def test_a_property_is_kept_or_converted_or_refused(case: Case, unvalues: Restorer, tmp_path: Path) -> None:
    source = write_source(tmp_path / f"x{case.source_container or case.container}", case.source)
    target = tmp_path / f"out{case.container}"
    if case.message:
        with pytest.raises(UserError, match=re.escape(case.message)):
            video.restore_video(source, target, unvalues)
        assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]
        return
    video.restore_video(source, target, unvalues)
    before, after = observe(source), observe(target)
    turn = case.values.get("pixels", lambda p: p)
    assert {name: after[name] for name in case.same} == {name: before[name] for name in case.same}
    values = {name: value for name, value in case.values.items() if name != "pixels"}
    assert {name: after[name] for name in values} == values
    expected, found = turn(before["pixels"]), after["pixels"]
    assert np.abs(found - expected).mean() < 0.02  # error of the encoder
    assert np.polyfit(expected.ravel(), found.ravel(), 1) == pytest.approx([1, 0], abs=0.02)  # contrast, brightness


def test_the_sources_have_their_properties(tmp_path: Path) -> None:
    hdr = observe(write_source(tmp_path / "x.mp4", HEVC_HDR))
    assert hdr["mastering"] == pytest.approx(MASTERING_VALUES)
    assert hdr["light"] == [1000, 400]
    tracks = observe(write_source(tmp_path / "y.mkv", H264._replace(tracks=True, cover=True)))
    assert tracks["chapters"] == [(0, Fraction(1, 20), "start")]
    assert [language for language, _ in tracks["audio"]] == ["deu"]
    assert tracks["covers"] == [("png", 32)]
    assert tracks["rate"] == (Fraction(24000, 1001), Fraction(24000, 1001))


def table() -> list[dict[str, str]]:
    """Return the rows of the documentation's table: outcomes by container, and the codecs of the sources."""
    rows: dict[str, dict[str, str]] = {}
    for case in VIDEO_PROPERTIES:
        row = rows.setdefault(case.property, {"property": case.property, **dict.fromkeys(CONTAINERS.values(), "")})
        row[CONTAINERS[case.container]] = case.outcome
    for name, row in rows.items():
        codecs = dict.fromkeys(CODECS[case.source.codec] for case in VIDEO_PROPERTIES if case.property == name)
        row["tested with"] = ", ".join(codecs)
    return list(rows.values())


def test_the_table_of_the_documentation_is_that_of_the_tests() -> None:
    text = (CONF.parent / "docs" / "restoring.md").read_text()
    assert markdown(table()) in text.partition("### What is kept: videos\n")[2]
