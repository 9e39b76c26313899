"""Layouts of the public data sets, written in small and read back."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from deblurlab.callbacks import ImageMetrics
from deblurlab.config import instantiate
from deblurlab.datasets import ImageSet, PairDataset
from deblurlab.errors import UserError
from deblurlab.media.images import write_png
from deblurlab.metrics import Measurement, Protocol, psnr
from support import config


def _write(root: Path, *names: str) -> None:
    """Write a different image for every name."""
    for name in names:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(root / name, rng.integers(0, 256, (72, 96, 3), dtype=np.uint8))


def _set(name: str, root: Path, *overrides: str) -> ImageSet:
    return instantiate(config(f"data={name}", f"data.root={root}", *overrides).data)


def _reds(root: Path) -> None:
    for split, clips in (("train", ("000", "001")), ("val", ("020",))):
        for clip in clips:
            _write(root, *(f"{split}/{split}_{kind}/{clip}/{i:08d}.png" for kind in ("blur", "sharp") for i in (0, 1)))


def _realblur(root: Path) -> None:
    folder = "RealBlur-J_ECC_IMCORR_centroid_itensity_ref"
    for split, scenes in (("train", ("scene001", "scene002")), ("test", ("scene003",))):
        lines = []
        for scene in scenes:
            for i in (1, 2):
                pair = f"{folder}/{scene}/gt/gt_{i}.png", f"{folder}/{scene}/blur/blur_{i}.png"
                _write(root, *pair)
                lines.append(" ".join(pair))
        (root / f"RealBlur_J_{split}_list.txt").write_text("\n".join(lines) + "\n")


def _rsblur(root: Path) -> None:
    for split, scenes in (("train", ("0001", "0002")), ("val", ("0003",)), ("test", ("0004",))):
        pairs = [(f"RSBlur/{s}/000001/gt/gt.png", f"RSBlur/{s}/000001/real_blur/real_blur.png") for s in scenes]
        for pair in pairs:
            _write(root, *pair)
        (root / f"RSBlur_real_{split}.txt").write_text("".join(f"{sharp} {blurred}\n" for sharp, blurred in pairs))


def _hide(root: Path) -> None:
    _write(root, *(f"test/{kind}/{i}fromGOPR1089.png" for kind in ("input", "target") for i in (1, 2, 3)))


def _kohler(root: Path) -> None:
    for key in ("1_1", "1_10", "2_1"):
        _write(
            root, f"Blurry{key}.png", *(f"Image{key[0]}/Kernel{key[2:]}/GroundTruth{key}_{k}.png" for k in (1, 2, 10))
        )


EXPECTED = {
    "gopro": (
        None, ["a/000001", "a/000002"], ["b/000001", "b/000002", "c/000001", "c/000002"],
        {"gopro": ["d/000001", "d/000002"]},
    ),
    "reds": (
        _reds, ["001/00000000", "001/00000001"], ["000/00000000", "000/00000001"],
        {"reds": ["020/00000000", "020/00000001"]},
    ),
    "realblur_j": (_realblur, 2, 2, {"realblur_j": 2}),
    "rsblur": (_rsblur, 2, 1, {"rsblur": 1}),
    "hide": (_hide, [], [], {"hide": ["1fromGOPR1089", "2fromGOPR1089", "3fromGOPR1089"]}),
    "kohler": (_kohler, [], [], {"kohler": ["1/1", "1/10", "2/1"]}),
}  # fmt: skip
BUILT = pytest.mark.parametrize("name", EXPECTED)


@BUILT
def test_a_layout_is_read_into_the_official_splits(name: str, tmp_path: Path, gopro_tree: Path) -> None:
    build, train, val, tests = EXPECTED[name]
    if build is not None:
        build(tmp_path)
    overrides = ["data.val_share=0.5"] if name == "realblur_j" else []
    data = _set(name, gopro_tree if build is None else tmp_path, *overrides)
    data.prepare()

    def names(pairs: list, expected: object) -> object:
        return len(pairs) if isinstance(expected, int) else [pair.name for pair in pairs]

    assert names(data.items("train"), train) == train
    assert names(data.items("val"), val) == val
    assert {key: names(pairs, tests[key]) for key, pairs in data.tests().items()} == tests
    everything = [*data.items("train"), *data.items("val"), *(p for pairs in data.tests().values() for p in pairs)]
    assert len({pair.blurred for pair in everything}) == len(everything)  # nothing is in two splits
    for pair in everything:
        sample = PairDataset([pair])[0, 0, 0]
        assert sample["blurred"].shape == sample["sharp"].shape == (3, 72, 96)
        assert not torch.equal(sample["blurred"], sample["sharp"])
    assert sum(map(len, data.splits().values())) == len(everything)


@BUILT
def test_the_error_for_a_missing_data_set_names_the_download_and_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)there is no .* data set at .*: download .* from http.*data.root="):
        _set(name, tmp_path / "nowhere").prepare()


def test_realblur_holds_out_whole_scenes(tmp_path: Path) -> None:
    _realblur(tmp_path)
    data = _set("realblur_j", tmp_path, "data.val_share=0.25")
    assert {pair.name.split("/")[1] for pair in data.items("val")} == {"scene002"}
    assert {pair.name.split("/")[1] for pair in data.items("train")} == {"scene001"}
    assert data.items("train")[0].blurred.name == "blur_1.png"
    assert data.items("train")[0].sharp.name == "gt_1.png"


def test_the_metric_on_kohler_is_the_best_over_all_references(tmp_path: Path) -> None:
    _kohler(tmp_path)
    pair = _set("kohler", tmp_path).tests()["kohler"][1]
    assert [path.stem for path in (pair.sharp, *pair.extra_references)] == [f"GroundTruth1_10_{k}" for k in (1, 2, 10)]
    sample = PairDataset([pair])[0, 0, 0]
    batch = torch.utils.data.default_collate([sample])
    restored = torch.rand(1, 3, 72, 96)
    metrics = ImageMetrics(Measurement(config("metric=psnr").metric, Protocol()))
    metrics._update("test", restored, batch)
    references = [sample["sharp"], *sample["extra_references"]]
    best = max(psnr(restored, reference[None] / 255).item() for reference in references)
    assert metrics._metrics["test/psnr"].compute().item() == pytest.approx(best)
    assert best > min(psnr(restored, reference[None] / 255).item() for reference in references)


def test_a_blurred_photograph_without_references_is_named(tmp_path: Path) -> None:
    _write(tmp_path, "Blurry3_4.png")
    with pytest.raises(UserError, match=r"Blurry3_4.png has no reference GroundTruth3_4_<number>"):
        _set("kohler", tmp_path).tests()
