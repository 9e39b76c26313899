"""Untrusted videos: FFmpeg reads no other file and decodes no frame above the size limit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from deblurlab.batch.video import restore_video
from deblurlab.errors import UserError
from deblurlab.inference.engines import Engine
from deblurlab.inference.predictor import Restorer

av = pytest.importorskip("av")


class _Same(Engine):
    def __call__(self, blurred: Tensor) -> Tensor:
        return torch.clone(blurred)

    def fingerprint(self) -> str:
        return "same"


def _video(path: Path, size: int = 64) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for i in range(3):
            image = np.full((size, size, 3), 60 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_an_intact_video_is_restored(tmp_path: Path) -> None:
    assert restore_video(_video(tmp_path / "a.mp4"), tmp_path / "b.mp4", Restorer(_Same())).frames == 3


SCRIPTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n",
    "hls by scheme": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{folder}/{video}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile {video}\n",
    "ffconcat of passwords": "ffconcat version 1.0\nfile /etc/passwd\n",
    "dash": '<?xml version="1.0"?><MPD><Period><BaseURL>{video}</BaseURL></Period></MPD>',
    "imf": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2013"/>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    "subtitles": "1\n00:00:00,000 --> 00:00:01,000\n{video}\n",
}


@pytest.mark.parametrize("kind", SCRIPTS)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_script_that_references_other_files_is_refused(kind: str, suffix: str, tmp_path: Path) -> None:
    video = _video(tmp_path / f"secret{'.ts' if kind.startswith('hls') else '.mp4'}")
    (source := tmp_path / f"x{suffix}").write_text(SCRIPTS[kind].format(video=video.name, folder=tmp_path))
    with pytest.raises(UserError, match=f"x{suffix} can't be read as a video"):
        restore_video(source, tmp_path / f"out{suffix}", Restorer(_Same()))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([video.name, source.name])


def test_too_large_frames_are_refused(tmp_path: Path) -> None:
    video = _video(tmp_path / "x.mp4", 128)
    with pytest.raises(UserError, match="the frames of .*x.mp4 have more than --max-pixels 9000"):
        restore_video(video, tmp_path / "out.mp4", Restorer(_Same()), max_pixels=9000)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.9])
def test_a_truncated_video_is_refused_and_leaves_no_files(fraction: float, tmp_path: Path) -> None:
    video = _video(tmp_path / "x.mp4")
    video.write_bytes(video.read_bytes()[: int(fraction * video.stat().st_size)])
    with pytest.raises(UserError, match="x.mp4"):
        restore_video(video, tmp_path / "out.mp4", Restorer(_Same()))
    assert [path.name for path in tmp_path.iterdir()] == ["x.mp4"]
