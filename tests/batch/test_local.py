"""`deblurlab restore`: file formats, folders, the journal, damaged files and signals."""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from deblurlab.batch import local
from deblurlab.batch.inputs import FileTask
from deblurlab.batch.journal import JOURNAL, Journal
from deblurlab.cli.restore import restore as restore_command
from deblurlab.inference.predictor import Restorer
from support import small_release

RNG = np.random.default_rng(0)
RGB = cv2.resize(RNG.integers(0, 256, (12, 15, 3), np.uint8), (60, 48), interpolation=cv2.INTER_CUBIC)
Restore = Callable[..., int]
_loads = json.loads


def _read(path: Path) -> np.ndarray:
    """Read a file with OpenCV as RGB, unrotated and unconverted."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    assert image is not None
    return image[..., [2, 1, 0, 3][: image.shape[2]]] if image.ndim == 3 else image


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., [2, 1, 0, 3][: image.shape[2]]] if image.ndim == 3 else image)


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.tiff", "x.bmp", "x.webp", "x.jpg", "x.JPG", "a[1].png"])
def test_names_and_formats_are_kept(restore: Restore, weights: Path, name: str) -> None:
    Image.fromarray(RGB).save(f"/{Path.cwd()}/{name}", quality=100)
    blurred = _read(Path(name))
    assert restore(name, "-o", "out") == 0
    with Image.open(name) as before, Image.open(f"out/{name}") as after:
        assert (after.format, after.mode, after.size) == (before.format, before.mode, before.size)
    expected = Restorer.load(weights, device="cpu").restore(blurred).astype(int)
    tolerance = 0 if Path(name).suffix in (".png", ".tif", ".tiff", ".bmp") else 12
    assert np.abs(_read(Path("out", name)) - expected).mean() <= tolerance
    assert np.abs(blurred - expected).mean() > 1


@pytest.mark.parametrize(
    "image",
    [
        RGB.astype(np.uint16) * 257 + 3,
        RGB[..., 0],
        RGB[..., 0].astype(np.uint16) * 256,
        np.dstack([RGB, RGB[..., 1]]),
        np.dstack([RGB, RGB[..., 1]]).astype(np.uint16) * 255,
    ],
    ids=["rgb16", "grey8", "grey16", "rgba8", "rgba16"],
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_bit_depth_grey_and_alpha_are_kept(restore: Restore, weights: Path, image: np.ndarray, suffix: str) -> None:
    _write(Path(f"in/x{suffix}"), image)
    assert restore("in", "-o", "out") == 0
    found = _read(Path(f"out/x{suffix}"))
    if (
        suffix == ".tif" and image.shape[2:] == (4,) and image.dtype == np.uint8
    ):  # OpenCV multiplies these by their alpha
        found = np.asarray(Image.open("out/x.tif"))
    assert (found.shape, found.dtype) == (image.shape, image.dtype)
    assert np.array_equal(found, Restorer.load(weights, device="cpu").restore(image))
    if image.ndim == 3 and image.shape[2] == 4:
        assert np.array_equal(found[..., 3], image[..., 3])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_orientation_profile_and_resolution_are_kept(restore: Restore, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RGB).save(f"x{suffix}", exif=exif, icc_profile=profile, dpi=(300, 300))
    assert restore(f"x{suffix}", "-o", "out") == 0
    with Image.open(f"x{suffix}") as before, Image.open(f"out/x{suffix}") as after:
        assert after.size == before.size
        assert after.getexif()[0x0112] == 6
        if suffix != ".tif":  # libvips writes no other tags to TIFF
            assert after.getexif()[0x010F] == "a camera"
        assert after.info["icc_profile"] == profile
        if suffix != ".webp":
            assert after.info["dpi"][0] == pytest.approx(300, abs=0.1)


def test_folders_patterns_and_files_keep_their_relative_paths(restore: Restore) -> None:
    for name in ("in/a.png", "in/deep/er/b.png", "in/.hidden.png", "other/c.png", "other/d.jpg"):
        _write(Path(name), RGB)
    Path("in/notes.txt").write_text("not an image")
    assert restore("in", "other/*.png", "-o", "in/out") == 0
    found = sorted(str(path.relative_to("in/out")) for path in Path("in/out").rglob("*.png"))
    assert found == ["a.png", "c.png", "deep/er/b.png"]
    assert restore("in", "-o", "in/out") == 0  # restored files are not inputs
    assert sorted(str(path.relative_to("in/out")) for path in Path("in/out").rglob("*.png")) == found
    assert restore("in/a.png", "-o", "single.png") == 0
    assert Path("single.png").is_file()


def test_restored_files_are_skipped_and_existing_files_are_not_replaced(
    restore: Restore, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("in/a.png", "in/b.png"):
        _write(Path(name), RGB)
    _write(Path("out/b.png"), RGB)
    assert restore("in", "-o", "out") == 1
    assert "out/b.png exists already, not from these settings: --overwrite replaces it" in capsys.readouterr().err
    assert np.array_equal(_read(Path("out/b.png")), RGB)
    state = Path("out/a.png").stat()
    assert restore("in/a.png", "-o", "out") == 0
    assert "0 restored, 1 skipped" in capsys.readouterr().err
    assert Path("out/a.png").stat().st_mtime_ns == state.st_mtime_ns
    assert restore("in/a.png", "-o", "out", "--strength", "0.5") == 1  # other settings
    assert restore("in", "-o", "out", "--overwrite") == 0
    assert not np.array_equal(_read(Path("out/b.png")), RGB)
    assert restore("in", "-o", "in") == 1
    assert "in is inside the output folder" in capsys.readouterr().err
    assert restore("in/a.png", "-o", "in/a.png") == 1
    assert "overwritten by the restored file" in capsys.readouterr().err


def test_the_last_line_says_where_the_output_is(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png"):
        _write(Path("in") / name, RGB)
    assert restore("in", "-o", "out") == 0
    assert capsys.readouterr() == ("", "2 restored: out/\n")
    assert restore("in/a.png", "-o", "one.png") == 0
    assert capsys.readouterr().err == "1 restored: one.png\n"


def test_quiet_prints_failures_only_and_verbose_a_line_per_file(
    restore: Restore, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        _write(Path("in") / name, RGB)
    Path("in/c.png").write_bytes(b"nothing")
    assert restore("in", "-q") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("deblurlab: in/c.png ")
    Path("restored/b.png").unlink()
    assert restore("in", "--verbose") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "1 restored, 1 skipped, 1 failed: restored/"
    assert {"in/a.png: restored before: restored/a.png", "in/b.png: restored: restored/b.png", line} == {*lines[:-1]}


def test_shards_restore_each_file_once(restore: Restore) -> None:
    for i in range(5):
        _write(Path(f"in/{i}.png"), RGB)
    assert restore("in", "-o", "out", "--shard", "2/3") == 0
    assert sorted(path.name for path in Path("out").glob("*.png")) == ["1.png", "4.png"]
    assert restore("in", "-o", "out", "--shard", "1/3") == 0
    assert restore("in", "-o", "out", "--shard", "3/3") == 0
    assert len(list(Path("out").glob("*.png"))) == 5


def test_side_by_side_strength_and_ensemble(restore: Restore, weights: Path) -> None:
    _write(Path("x.png"), RGB)
    assert restore("x.png", "-o", "out", "--side-by-side") == 0
    both = _read(Path("out/x.png"))
    restored = Restorer.load(weights, device="cpu").restore(RGB)
    assert np.array_equal(both, np.concatenate([RGB, restored], axis=1))
    assert restore("x.png", "-o", "none", "--strength", "0") == 0
    assert np.array_equal(_read(Path("none/x.png")), RGB)
    assert restore("x.png", "-o", "eight", "--ensemble") == 0
    engine = Restorer.load(weights, device="cpu").engine
    image = torch.from_numpy(RGB).permute(2, 0, 1)[None] / 255
    views = [torch.rot90(image, k, (2, 3)) for k in range(4)]
    upright = [torch.rot90(engine(v), -k, (2, 3)) for k, v in enumerate(views)]
    flipped = [torch.rot90(engine(v.flip(3)).flip(3), -k, (2, 3)) for k, v in enumerate(views)]
    expected = torch.stack(upright + flipped).mean(dim=0)[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255
    assert np.abs(_read(Path("eight/x.png")) - expected).max() <= 0.51


@pytest.mark.parametrize("colours", [3, 1])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", "16.png", "16.tif"])
def test_large_images_are_read_and_written_in_strips(
    restore: Restore, suffix: str, colours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are byte-identical, although the image is never in memory as a whole."""
    image = cv2.resize(RGB, (700, 900), interpolation=cv2.INTER_CUBIC)[..., [0, 1, 2][:colours]].squeeze()
    image = image.astype(np.uint16) * 257 if suffix.startswith("16") else image
    _write(Path(f"in/x{suffix}"), image)
    assert restore("in", "-o", "whole", "--tile", "off") == 0
    monkeypatch.setattr(local, "IN_MEMORY", 1000)
    monkeypatch.setattr("deblurlab.media.large_image_writer.IN_MEMORY", 1000)
    assert restore("in", "-o", "tiled", "--tile", "256") == 0
    assert Path(f"tiled/x{suffix}").read_bytes() == Path(f"whole/x{suffix}").read_bytes()
    assert sorted(path.name for path in Path("tiled").iterdir()) == [".deblurlab.jsonl", f"x{suffix}"]


def test_grey_with_transparency_is_refused_by_bmp(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.dstack([RGB[..., 0], RGB[..., 1]]), "LA").save("x.png")
    assert restore("x.png", "-o", "x.bmp") == 1
    assert "has transparency, x.bmp can't store it: choose PNG, TIFF or WebP" in capsys.readouterr().err


def test_the_seam_error_of_blended_tiles_is_printed(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    _write(Path("x.png"), cv2.resize(RGB, (700, 600)))
    assert restore("x.png", "-o", "out", "--tile", "256", "--overlap", "2") == 0
    assert "x.png: tiles of 256 pixels, blended over 2 pixels on each side" in capsys.readouterr().err


def _bomb(path: Path) -> None:
    """A PNG of ten thousand megapixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    content = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def _sized(width: int, height: int) -> Callable[[Path], None]:
    """Return the writer of a PNG file with a header and no pixels."""

    def write(path: Path) -> None:
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")]
        content = b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)

    return write


def _truncated(path: Path) -> None:
    noise = RNG.integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _animated(path: Path) -> None:
    Image.fromarray(RGB).save(path, save_all=True, append_images=[Image.fromarray(255 - RGB)])


def _nan(path: Path) -> None:
    image = RGB.astype(np.float32) / 255
    image[3, 3] = np.nan
    cv2.imwrite(str(path), image)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "zero.jpg": (lambda path: path.touch(), "is empty"),
    "text.png": (lambda path: path.write_text("hello"), "isn't an image"),
    "cut.png": (_truncated, "damaged or truncated"),
    "cut.jpg": (_truncated, "damaged or truncated"),
    "cut.tif": (_truncated, "damaged"),
    "cut.webp": (_truncated, "damaged"),
    "huge.png": (
        _sized(2**31 - 1, 2**31 - 1),
        "huge.png isn't an image that can be read, or it is damaged: its header is invalid",
    ),
    "zero.png": (_sized(0, 5), "zero.png isn't an image that can be read, or it is damaged: its header is invalid"),
    "bomb.png": (_bomb, "100000 x 100000 pixels, more than 2000000"),
    "large.png": (
        lambda path: Image.new("RGB", (3000, 1000)).save(path),
        "more than 2000000: raise --max-pixels",
    ),
    "moving.webp": (_animated, "animated"),
    "moving.png": (_animated, "animated"),
    "pages.tif": (_animated, "several pages"),
    "print.jpg": (lambda path: Image.fromarray(RGB).convert("CMYK").save(path), "is cmyk"),
    "light.tif": (lambda path: cv2.imwrite(str(path), RGB.astype(np.float32)), "HDR or floating-point"),
    "nan.tiff": (_nan, "HDR or floating-point"),
    "drawing.png": (
        lambda path: path.write_text("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"),
        "svg",
    ),
    "folder.png": (lambda path: path.mkdir(), "no images or videos"),
}


def test_bad_files_are_reported_and_the_others_are_restored(
    restore: Restore, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in").mkdir()
    for name, (make, _) in BAD.items():
        make(Path("in", name))
    _write(Path("in/good.png"), RGB)
    Image.fromarray(RGB[:1, :1]).save("in/one.png")
    inputs = ["nowhere.png", *sorted(map(str, Path("in").iterdir()))]
    assert restore(*inputs, "-o", "out", "--max-pixels", 2_000_000) == 1
    errors = capsys.readouterr().err.splitlines()
    for name, (_, message) in BAD.items():
        lines = [line for line in errors if f"in/{name}" in line]
        assert len(lines) == 1, (name, errors)
        assert message in lines[0]
    assert any("nowhere.png does not exist" in line for line in errors)
    assert sorted(path.name for path in Path("out").glob("*.*")) == [".deblurlab.jsonl", "good.png", "one.png"]
    assert f"2 restored, {len(BAD) + 1} failed" in errors[-1]


@pytest.mark.parametrize("shape", [(1, 50, 3), (50, 1, 3), (1, 1, 3), (1, 50)])
def test_images_of_one_row_or_column_keep_their_shape(restore: Restore, shape: tuple[int, ...]) -> None:
    _write(Path("x.bmp"), RNG.integers(0, 256, shape, np.uint8))
    assert restore("x.bmp", "-o", "out") == 0
    assert _read(Path("out/x.bmp")).shape == shape


def test_targets_that_cannot_hold_the_source_are_refused(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    _write(Path("x.png"), np.dstack([RGB, RGB[..., 1]]))
    assert restore("x.png", "-o", "x.mp4") == 1
    assert restore("x.png", "-o", "x.jpg") == 1
    errors = capsys.readouterr().err
    assert "x.png can't be restored to x.mp4" in errors
    assert "x.png has transparency, x.jpg can't store it" in errors
    assert sorted(path.name for path in Path().iterdir()) == ["x.png"]


def test_the_journal_is_valid_after_its_folder_moved(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    _write(Path("in/x.png"), RGB)
    assert restore("in", "-o", "out") == 0
    Path("out").rename("moved")
    assert restore("in", "-o", "moved") == 0
    assert "1 skipped" in capsys.readouterr().err


def test_each_line_of_the_journal_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what other processes append; half a line of an interrupted process is left out."""
    tasks = [FileTask(tmp_path / f"{i}.png", tmp_path / "out" / f"{i}.png") for i in range(20)]
    for task in tasks:
        task.source.touch()
    (tmp_path / "out").mkdir()
    ours, others = (Journal(tmp_path / "out", "settings") for _ in range(2))
    parsed = []
    monkeypatch.setattr("deblurlab.batch.journal.json.loads", lambda line: parsed.append(line) or _loads(line))
    for i, task in enumerate(tasks):
        assert not ours.contains(task)
        (ours, others)[i % 2].add(task)
        assert ours.contains(task)
    with (tmp_path / "out" / JOURNAL).open("a") as file:
        file.write('{"target": "half')
    assert all(ours.contains(task) for task in tasks)
    assert [line for line in parsed if b"half" not in line] == (tmp_path / "out" / JOURNAL).read_bytes().splitlines()[
        :20
    ]
    assert all(Journal(tmp_path / "out", "settings").contains(task) for task in tasks)
    assert not any(Journal(tmp_path / "out", "other").contains(task) for task in tasks)


def test_two_inputs_with_the_same_target_are_reported(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a/x.png", "b/x.png"):
        _write(Path(name), RGB)
    assert restore("a", "b", "-o", "out") == 1
    assert "b/x.png and a/x.png would both be restored to out/x.png" in capsys.readouterr().err
    assert Path("out/x.png").is_file()


def test_a_full_disk_leaves_no_partial_file(
    restore: Restore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/full simulates the full disk."""
    _write(Path("in/x.png"), RGB)
    original = local.LargeImageWriter._encode

    def encode(self: object, image: object, target: Path) -> None:
        target.symlink_to("/dev/full")
        original(self, image, target)  # type: ignore[arg-type]

    monkeypatch.setattr(local.LargeImageWriter, "_encode", encode)
    assert restore("in", "-o", "out") == 1
    assert "out/x.png couldn't be written" in capsys.readouterr().err
    assert [path.name for path in Path("out").iterdir()] == []


def _many_files(folder: Path) -> None:
    """Write 200 images, which take longer than the test needs to send a signal."""
    _write(folder / "000.png", cv2.resize(RGB, (300, 300)))
    for i in range(1, 200):
        (folder / f"{i:03d}.png").hardlink_to(folder / "000.png")


def _signal_after_two_files(folder: Path, process: int, number: int) -> None:
    until = time.monotonic() + 120
    while len(list(folder.glob("*.png"))) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process, number)


def _check_complete_files_only(folder: Path) -> None:
    found = sorted(path.name for path in folder.iterdir())
    assert 2 < len(found) < 201
    assert [name for name in found if "partial" in name or name.endswith(".rows")] == []
    journal = (folder / ".deblurlab.jsonl").read_text().splitlines()
    assert len(journal) == len(found) - 1
    for line in journal:
        assert _read(folder / json.loads(line)["target"]).shape == (300, 300, 3)


def test_sigterm_leaves_complete_files_only(weights: Path, tmp_path: Path) -> None:
    _many_files(tmp_path / "in")
    command = [sys.executable, "-m", "deblurlab", "restore", "in", "-o", "out", "--weights", weights, "--device", "cpu"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    _signal_after_two_files(tmp_path / "out", process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 143, errors
    assert "Traceback" not in errors
    _check_complete_files_only(tmp_path / "out")


def test_ctrl_c_leaves_complete_files_only(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _many_files(Path("in"))
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes of a shell ignore it
    sender = threading.Thread(target=_signal_after_two_files, args=(Path("out"), os.getpid(), signal.SIGINT))
    sender.start()
    try:
        with pytest.raises(SystemExit) as end:
            restore_command(["in", "-o", "out", "--weights", str(weights), "--device", "cpu"])
    finally:
        sender.join()
        signal.signal(signal.SIGINT, previous)
    assert end.value.code == 130
    assert "all written files are complete" in capsys.readouterr().err
    _check_complete_files_only(Path("out"))


@pytest.mark.parametrize("content", [b"garbage", None])
def test_modified_weights_are_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is None:  # another hash
        broken = small_release(tmp_path / "broken")
        file = broken / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"x")
        message = "isn't the file that was released"
    else:
        broken = tmp_path / "model.pt"
        broken.write_bytes(content)
        message = "can't be read as weights: it is a text file"
    with pytest.raises(SystemExit, match=message):
        restore_command(["x.png", "--weights", str(broken)])


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"state_dict": Payload()}, tmp_path / "evil.ckpt")
    with pytest.raises(SystemExit, match=r"evil\.ckpt holds an object of the class posix\.mkdir, which isn't loaded"):
        restore_command(["x.png", "--weights", str(tmp_path / "evil.ckpt")])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tile", "big"], "--tile big is not valid"),
        (["--max-pixels", "-1"], "--max-pixels must be at least 1, not -1"),
        (["--strength", "3"], "strength must be between"),
        (["--shard", "4/3"], "shard=4/3 is not a shard"),
        (["--engine", "onnxruntime"], "needs an ONNX file"),
    ],
)
def test_invalid_options_are_reported(options: list[str], message: str, weights: Path) -> None:
    with pytest.raises(SystemExit, match=message):
        restore_command(["x.png", "--weights", str(weights), *options])
