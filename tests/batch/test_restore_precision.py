"""`deblurlab restore --precision`: 8 and more bits, the printed line, the journal, videos, ONNX files, the server."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from skimage.data import chelsea

from deblurlab.batch import video
from deblurlab.cli.restore import restore as restore_command
from deblurlab.cli.serve import serve
from deblurlab.inference import precision
from deblurlab.inference.predictor import Restorer
from deblurlab.media.images import read_image, write_png

Restore = Callable[..., int]
PHOTOGRAPH = np.ascontiguousarray(chelsea()[100:164, 150:246])
BF16 = "precision: bf16 for images of 8 bits (0."


def _write(file: str, image: np.ndarray) -> None:
    Path(file).parent.mkdir(exist_ok=True)
    write_png(Path(file), image)


@pytest.fixture(autouse=True)
def _bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)


def test_auto_restores_8_bits_with_bf16_and_16_bits_as_fp32(
    restore: Restore, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write("in/8.png", PHOTOGRAPH)
    _write("in/16.png", PHOTOGRAPH.astype(np.uint16) * 257)
    assert restore("in", "-o", "auto") == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("precision: ")]
    assert line.startswith(BF16)
    assert line.endswith("fp32 for others")
    for name in ("fp32", "bf16"):
        assert restore("in", "-o", name, "--precision", name) == 0
        assert ("precision: bf16 (" in capsys.readouterr().err) == (name == "bf16")
    files = {
        (folder, depth): Path(folder, f"{depth}.png").read_bytes()
        for folder in ("auto", "fp32", "bf16")
        for depth in (8, 16)
    }
    assert files["auto", 8] == files["bf16", 8] != files["fp32", 8]
    assert files["auto", 16] == files["fp32", 16] != files["bf16", 16]


def test_the_blurred_image_is_exact_at_strength_0(restore: Restore) -> None:
    _write("x.png", PHOTOGRAPH)
    assert restore("x.png", "-o", "out", "--strength", "0", "--precision", "bf16") == 0
    assert np.array_equal(read_image(Path("out/x.png")), PHOTOGRAPH)


def test_files_of_another_precision_are_not_skipped(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    _write("in/x.png", PHOTOGRAPH)
    assert restore("in", "-o", "out") == 0
    assert restore("in", "-o", "out") == 0
    assert "1 skipped" in capsys.readouterr().err
    for name in ("fp32", "bf16"):
        assert restore("in", "-o", "out", "--precision", name) == 1
        assert "out/x.png exists already, not from these settings: --overwrite replaces it" in capsys.readouterr().err
    assert restore("in", "-o", "out", "--precision", "fp32", "--overwrite") == 0
    assert restore("in", "-o", "out", "--precision", "fp32") == 0
    assert "1 skipped" in capsys.readouterr().err


@pytest.mark.parametrize(("pixel_format", "bf16"), [("yuv420p", True), ("yuv420p10le", False)])
def test_auto_restores_videos_of_10_bits_as_fp32(weights: Path, tmp_path: Path, pixel_format: str, bf16: bool) -> None:
    with av.open(str(tmp_path / "x.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixel_format
        out.mux(stream.encode(av.VideoFrame.from_ndarray(PHOTOGRAPH, format="rgb24")))
        out.mux(stream.encode(None))
    frames = {}
    for name in ("auto", "fp32", "bf16"):
        restorer = Restorer.load(weights, device="cpu", precision=name)
        video.restore_video(tmp_path / "x.mp4", tmp_path / f"{name}.mp4", restorer)
        with av.open(str(tmp_path / f"{name}.mp4")) as opened:
            frames[name] = next(opened.decode(video=0)).to_ndarray()
    assert np.array_equal(frames["auto"], frames["bf16" if bf16 else "fp32"])
    assert not np.array_equal(frames["auto"], frames["fp32" if bf16 else "bf16"])


def test_an_onnx_file_has_its_own_precision(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").touch()
    with pytest.raises(SystemExit, match=r"precision=bf16 can't be chosen for .*x\.onnx: an ONNX file has its own"):
        restore_command(["x.png", "--weights", str(tmp_path / "x.onnx"), "--precision", "bf16"])


@pytest.mark.parametrize(("options", "expected"), [([], BF16), (["--precision", "fp32"], "")])
def test_serve_prints_the_precision_of_each_model(
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    expected: str,
) -> None:
    pytest.importorskip("gradio")
    served: list[Restorer] = []
    monkeypatch.setattr("deblurlab.serving.app.serve", lambda restorers, *_, **__: served.extend(restorers.values()))
    serve(["--weights", str(weights), "--device", "cpu", *options])
    errors = capsys.readouterr().err
    assert errors.startswith(f"{weights.name}: {expected}") if expected else "precision" not in errors
    assert (served[0].engine.precision == "fp32") == bool(options)
