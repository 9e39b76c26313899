"""`deblurlab data`: check, pack, show and average."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblurlab.datasets.averaging import average_frames
from deblurlab.datasets.frame_store import FrameStore
from deblurlab.errors import UserError
from deblurlab.media.images import read_image, write_png
from support import data_command


def test_check_compares_the_counts_with_the_published_ones(
    gopro_tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data_command("check", "gopro", gopro_tree) == 1
    output = capsys.readouterr().out
    assert "train has 6 pairs instead of the published 2103" in output
    assert "test has 2 pairs instead of the published 1111" in output
    assert "96x72" in output


@pytest.mark.slow
def test_the_official_counts_are_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """22 training and 11 test sequences of tiny frames."""
    tests = dict.fromkeys((f"GOPR{n:04d}_11_00" for n in range(9)), 100) | {"GOPR0410_11_00": 134, "GOPR0862_11_00": 77}
    train = {f"GOPR{n:04d}_12_00": 96 if n < 13 else 95 for n in range(22)}
    assert (sum(train.values()), sum(tests.values())) == (2103, 1111)
    number = 0
    for split, sequences in (("train", train), ("test", tests)):
        for name, count in sequences.items():
            for kind in ("blur", "sharp"):
                (tmp_path / split / name / kind).mkdir(parents=True)
                for i in range(count):
                    number += 1
                    pixel = (number & 255, number >> 8, 0)
                    Image.new("RGB", (2, 2), pixel).save(tmp_path / split / name / kind / f"{i:06d}.png")
    assert data_command("check", "gopro", tmp_path) == 0
    assert "no problems found" in capsys.readouterr().out


def test_check_reports_damaged_files_and_lists_good_pairs(
    gopro_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = gopro_copy
    (root / "train/a/blur/000001.png").write_bytes(b"nothing")
    write_png(root / "train/b/sharp/000002.png", np.zeros((5, 6, 3), np.uint8))
    write_png(root / "test/d/sharp/000002.png", read_image(root / "train/c/sharp/000001.png"))
    fixed = tmp_path / "good.txt"
    assert data_command("check", "gopro", root, "--fix-list", fixed) == 1
    output = " ".join(capsys.readouterr().out.split())
    assert "train/a/blur/000001.png isn't an image that can be read" in output
    assert "train/b/blur/000002.png is 96x72 and" in output
    assert "test/d/sharp/000002.png (test) is the same image as" in output
    good = [line.split() for line in fixed.read_text().splitlines()]
    assert len(good) == 5
    assert data_command("show", "pairs", f"data.list={fixed}", "-o", tmp_path / "page.png") == 0
    with Image.open(tmp_path / "page.png") as page:
        assert page.size == (3 * 486, 5 * (360 + 22))


def test_pack_then_check_reads_the_store(gopro_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data_command("pack", "gopro", gopro_copy) == 0
    assert "16 frames" in capsys.readouterr().out
    file = gopro_copy / "train/a/blur/000002.png"
    assert np.array_equal(FrameStore(gopro_copy)(file), read_image(file))


def test_user_errors_are_one_line(gopro_tree: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("check", "gopr", tmp_path), "there is no data set gopr; known: gopro"),
        (("check", "gopro", tmp_path / "nowhere"), "there is no GoPro data set at"),
        (("check", "gopro", gopro_tree, "data.blurkey=blur"), "blurkey"),
        (
            ("average", gopro_tree / "train/a/sharp", "-o", tmp_path / "out", "--window", "a..b"),
            "neither a number nor",
        ),
    ):
        with pytest.raises(UserError, match=message):
            data_command(*arguments)


def test_frames_are_averaged_in_natural_order(tmp_path: Path) -> None:
    """Levels of frames 1 to 30 are 8 times their numbers: windows of 3 have the mean of their middle frame."""
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(1, 31):
        write_png(frames / f"{number}.png", np.full((4, 4, 3), 8 * number, np.uint8))
    assert data_command("average", frames, "-o", tmp_path / "out", "--window", "3") == 0
    means = [int(read_image(file)[0, 0, 0]) for file in sorted((tmp_path / "out" / "blur").iterdir())]
    assert means == [8 * number for number in range(2, 30, 3)]


def test_averages_equal_values_computed_by_hand(tmp_path: Path) -> None:
    """Three grey frames: the mean of their values, and the mean of their linear intensities."""
    frames = tmp_path / "frames"
    frames.mkdir()
    values = [10, 100, 250]
    for i, value in enumerate(values):
        write_png(frames / f"{i}.png", np.full((4, 4, 3), value, np.uint8))
    assert data_command("average", frames, "-o", tmp_path / "out", "--window", "3") == 0
    found = {
        kind: read_image(tmp_path / "out" / kind / "000000.png")[0, 0, 0] for kind in ("blur", "blur_gamma", "sharp")
    }
    linear = np.mean([(value / 255) ** 2.2 for value in values])
    assert found == {"blur": 120, "blur_gamma": round(255 * linear ** (1 / 2.2)), "sharp": 100}


def test_windows_are_odd_consecutive_and_determined_by_the_seed(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for i in range(60):
        write_png(frames / f"{i:03d}.png", np.full((2, 2, 3), i, np.uint8))
    used = []
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        ends = [end for end, _ in average_frames(frames, tmp_path / out, window=(7, 13), seed=seed)]
        lengths = np.diff([0, *ends])
        assert set(lengths) <= {7, 9, 11, 13}
        for i, (end, length) in enumerate(zip(ends, lengths, strict=True)):
            middle = end - length + length // 2
            assert read_image(tmp_path / out / "sharp" / f"{i:06d}.png")[0, 0, 0] == middle
            assert read_image(tmp_path / out / "blur" / f"{i:06d}.png")[0, 0, 0] == middle
        used.append(ends)
    assert used[0] == used[1] != used[2]


@pytest.mark.parametrize(
    ("window", "message"),
    [((8, 8), "holds no odd number"), ((99, 99), "has 3 frames, too few"), ((3, 3), "other frames")],
)
def test_invalid_windows_and_frames_are_refused(window: tuple[int, int], message: str, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for i in range(3):
        write_png(frames / f"{i}.png", np.zeros((4 + i, 4, 3), np.uint8))
    with pytest.raises(UserError, match=message):
        list(average_frames(frames, tmp_path / "out", window=window))
    assert not (tmp_path / "out").exists()
