"""Synthetic data set: reproducible, with disjoint splits, written completely or not at all."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from deblurlab.config import instantiate
from deblurlab.datasets import Synthetic
from deblurlab.datasets import synthetic as synthetic_module
from deblurlab.datasets.synthetic import PHOTOGRAPHS
from deblurlab.errors import UserError
from deblurlab.media.images import read_image, write_png
from support import config

SMALL = ["data.train=6", "data.val=2", "data.blurs=2", "data.height=72", "data.width=80"]
ONE = ["data.val=1", "data.blurs=1"]
"""Overrides for one validation pair and one blur of each photograph."""


def _set(root: Path, *overrides: str, kind: str = "synthetic") -> Synthetic:
    return instantiate(config(f"data={kind}", *SMALL, f"data.root={root}", *overrides).data)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    data = _set(tmp_path_factory.mktemp("synthetic"))
    data.prepare()
    return data


def _digest(data: Synthetic) -> str:
    digest = hashlib.sha256()
    for path in sorted(data.folder.rglob("*.png")):
        digest.update(path.relative_to(data.folder).as_posix().encode() + read_image(path).tobytes())
    return digest.hexdigest()


def test_it_has_the_given_sizes(synthetic: Synthetic) -> None:
    assert (len(synthetic.items("train")), len(synthetic.items("val"))) == (6, 2)
    assert len(synthetic.tests()["photographs"]) == 2 * len(PHOTOGRAPHS)
    assert {read_image(p.blurred).shape for p in [*synthetic.items("train"), *synthetic.items("val")]} == {(72, 80, 3)}


@pytest.mark.slow
def test_a_seed_always_gives_the_same_images(synthetic: Synthetic, tmp_path: Path) -> None:
    again = _set(tmp_path)
    again.prepare()
    assert _digest(again) == _digest(synthetic)


def test_several_processes_generate_the_same_images(
    synthetic: Synthetic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deblurlab.datasets.synthetic._MAX_SEQUENTIAL_PIXELS", 0)
    again = _set(tmp_path)
    again.prepare()
    assert _digest(again) == _digest(synthetic)


def test_the_images_are_those_of_version_2(synthetic: Synthetic) -> None:
    """A change of the images needs a new `_VERSION`, because published metrics refer to these images."""
    assert _digest(synthetic) == "49d4e8b345650787b84845cc6690d40950433c5b83aea54ca41867d93bd2cb4a"


def test_the_other_kind_of_blur_has_the_same_sharp_images(synthetic: Synthetic, tmp_path: Path) -> None:
    other = _set(tmp_path, "data.blur_key=blur", *ONE)
    other.prepare()
    assert {pair.blurred.parent.name for pair in other.items("train")} == {"blur"}
    for a, b in zip(synthetic.items("train"), other.items("train"), strict=True):
        assert np.array_equal(read_image(a.sharp), read_image(b.sharp))
        assert not np.array_equal(read_image(a.blurred), read_image(b.blurred))


def test_a_wide_set_trains_on_both_kinds_of_blur_and_is_tested_on_one(tmp_path: Path) -> None:
    wide = _set(tmp_path, "data.endless=false", "data.train=12", *ONE, kind="synthetic_wide")
    wide.prepare()
    recipes = [json.loads(path.read_text()) for path in wide.folder.glob("train/scenes/recipe/*.json")]
    assert {recipe["blur_key"] for recipe in recipes} == {"blur", "blur_gamma"}
    recipes = [json.loads(path.read_text()) for path in wide.folder.glob("test/*/recipe/*.json")]
    assert {recipe["blur_key"] for recipe in recipes} == {"blur_gamma"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.texture=2", "data.texture=2 must be between 0 and 1"),
        ("data.blur_key=either", "data.blur_key is 'either': blur or blur_gamma"),
        ("data.scenes.blur_key=blur", "data.scenes.blur_key=blur and data.test_photographs.blur_key=blur_gamma must"),
    ],
)
def test_contradictory_settings_are_refused(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _set(tmp_path, override)


def test_another_seed_gives_other_images_in_another_folder(synthetic: Synthetic, tmp_path: Path) -> None:
    other = _set(tmp_path, "data.seed=1", "data.train=1", *ONE)
    other.prepare()
    assert other.folder.name != synthetic.folder.name
    assert not np.array_equal(read_image(other.items("train")[0].sharp), read_image(synthetic.items("train")[0].sharp))


def test_a_larger_set_begins_with_the_same_pairs(synthetic: Synthetic, tmp_path: Path) -> None:
    more = _set(tmp_path, "data.train=8", *ONE)
    more.prepare()
    for a, b in zip(synthetic.items("train"), more.items("train"), strict=False):
        assert np.array_equal(read_image(a.blurred), read_image(b.blurred))


def test_no_image_is_in_two_splits(synthetic: Synthetic) -> None:
    sets = {"train": synthetic.items("train"), "val": synthetic.items("val"), **synthetic.tests()}
    where: dict[bytes, str] = {}
    for name, pairs in sets.items():
        for pair in pairs:
            assert where.setdefault(read_image(pair.blurred).tobytes(), name) == name
            assert where.setdefault(read_image(pair.sharp).tobytes(), name) == name


def test_photographs_are_not_used_for_training_or_validation(
    synthetic: Synthetic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Generated without access to any photograph, training and validation pairs are equal byte for byte."""

    def forbidden() -> np.ndarray:
        raise AssertionError("a photograph was opened")

    for name in PHOTOGRAPHS:
        monkeypatch.setitem(PHOTOGRAPHS, name, forbidden)
    blind = _set(tmp_path)
    tasks = [task for task in blind._tasks(blind.folder) if task.photograph is None]
    for task in tasks:
        for kind in ("blur_gamma", "sharp", "recipe"):
            (task.folder / kind).mkdir(parents=True, exist_ok=True)
    blind._write(tasks)
    for a, b in zip(
        [*synthetic.items("train"), *synthetic.items("val")], [*blind.items("train"), *blind.items("val")], strict=True
    ):
        assert a.sharp.read_bytes() == b.sharp.read_bytes()


def test_the_sharp_test_images_are_the_photographs(synthetic: Synthetic) -> None:
    """They are the middle of the photograph, converted to linear light and back with two roundings."""
    for pair in synthetic.tests()["photographs"]:
        photograph = PHOTOGRAPHS[pair.group]()
        sharp = read_image(pair.sharp)
        margin = (photograph.shape[0] - sharp.shape[0]) // 2, (photograph.shape[1] - sharp.shape[1]) // 2
        middle = photograph[margin[0] : margin[0] + sharp.shape[0], margin[1] : margin[1] + sharp.shape[1]]
        assert np.abs(middle.astype(int) - sharp).max() <= 1


def test_blurs_of_a_photograph_differ(synthetic: Synthetic) -> None:
    first, second = synthetic.tests()["photographs"][:2]
    assert first.group == second.group
    assert not np.array_equal(read_image(first.blurred), read_image(second.blurred))


def test_each_pair_has_its_recipe(synthetic: Synthetic) -> None:
    for pair in synthetic.tests()["photographs"]:
        file = pair.blurred.parent.parent / "recipe" / f"{pair.blurred.stem}.json"
        assert 3 <= json.loads(file.read_text())["blur_length"] <= 15


def test_existing_pairs_are_not_generated_again(synthetic: Synthetic) -> None:
    before = {p: p.stat().st_mtime_ns for p in synthetic.folder.rglob("*")}
    synthetic.prepare()
    assert {p: p.stat().st_mtime_ns for p in synthetic.folder.rglob("*")} == before


def test_an_interrupted_call_is_resumed(synthetic: Synthetic, tmp_path: Path) -> None:
    interrupted = _set(tmp_path)
    partial = interrupted.folder.with_name(f".{interrupted.folder.name}.partial")
    tasks = list(interrupted._tasks(partial))[:3]
    for kind in ("blur_gamma", "sharp", "recipe"):
        (tasks[0].folder / kind).mkdir(parents=True)
    interrupted._write(tasks)
    (tasks[2].folder / "recipe" / "000002.json").unlink()  # the call stopped before the last file of a pair
    assert not interrupted.folder.exists()
    kept = (tasks[0].folder / "blur_gamma" / "000000.png").stat().st_ino
    interrupted.prepare()
    assert (interrupted.items("train")[0].blurred).stat().st_ino == kept
    assert _digest(interrupted) == _digest(synthetic)


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"can't be written to .*file/synthetic-.*data.root"):
        _set(tmp_path / "file").prepare()


def _photos(folder: Path, count: int, size: tuple[int, int] = (260, 280)) -> Path:
    """Write photographs with a different value of blue each."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        pixels[..., 2] = 20 * i
        write_png(folder / f"{i}.png", pixels)
    return folder


def test_scenes_are_taken_from_source_images(tmp_path: Path) -> None:
    photos = _photos(tmp_path / "photos", 5)
    still = [*ONE, *(f"data.scenes.{key}=[0,0]" for key in ("objects", "softness", "rotation"))]
    data = _set(tmp_path, f"data.source_images={photos}", *still)
    data.prepare()
    blues = [
        {int(np.median(read_image(pair.sharp)[..., 2].astype(float))) for pair in pairs}
        for pairs in (data.items("train"), data.items("val"))
    ]
    assert blues[0] <= {0, 20, 40, 60}
    assert len(blues[0]) > 1
    assert blues[1] == {80}  # held out
    again = _set(tmp_path / "again", f"data.source_images={photos}", *still)
    again.prepare()
    assert _digest(again) == _digest(data)
    assert again.folder.name == data.folder.name != _set(tmp_path, *still).folder.name
    assert list(tmp_path.glob("*-photographs")) == []  # needed only while the pairs are written


def test_a_recipe_of_photographs_needs_their_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"source_side=.* needs source_images=<folder of sharp photographs>"):
        instantiate(config("experiment=bundled").data)


def test_decoded_photographs_are_read_from_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = _photos(tmp_path / "photos", 3)
    arguments = [f"data.source_images={photos}", "data.endless=true", "data.scenes.objects=[0,0]", *ONE]
    _set(tmp_path, *arguments).prepare()
    again = _set(tmp_path, *arguments)

    def refuse(*_: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(synthetic_module, "FileLock", refuse)
    again.prepare()
    training = again.training({40: None}, repeat=1, seed=0)  # type: ignore[dict-item]
    assert training.dataset[(0, 0, 40)]["background"].shape[0] == 3


def test_source_images_that_are_too_small_are_refused(tmp_path: Path) -> None:
    photos = _photos(tmp_path / "photos", 3, size=(80, 90))
    with pytest.raises(UserError, match="of the 3 images in"):
        _set(tmp_path, f"data.source_images={photos}")
