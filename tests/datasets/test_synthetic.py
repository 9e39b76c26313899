"""The made data set: always the same for a seed, disjoint, whole or not there."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from deblurlab.datasets import Synthetic
from deblurlab.datasets.synthetic import PHOTOGRAPHS
from deblurlab.errors import UserError
from deblurlab.media.images import read_image, write_png
from support import config

SMALL = ["data.train=6", "data.val=2", "data.blurs=2", "data.height=72", "data.width=80"]


def _set(root: Path, *overrides: str, kind: str = "synthetic") -> Synthetic:
    return instantiate(config(f"data={kind}", *SMALL, f"data.root={root}", *overrides).data, _convert_="all")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    data = _set(tmp_path_factory.mktemp("synthetic"))
    data.prepare()
    return data


def _digest(data: Synthetic) -> str:
    digest = hashlib.sha256()
    for path in sorted(data.folder.rglob("*.png")):
        digest.update(path.relative_to(data.folder).as_posix().encode() + read_image(path).tobytes())
    return digest.hexdigest()


def test_it_has_the_sizes_asked_for(made: Synthetic) -> None:
    assert (len(made.train()), len(made.val())) == (6, 2)
    assert len(made.tests()["photographs"]) == 2 * len(PHOTOGRAPHS)
    assert {read_image(p.blurred).shape for p in [*made.train(), *made.val()]} == {(72, 80, 3)}


@pytest.mark.slow
def test_a_seed_always_gives_the_same_pictures(made: Synthetic, tmp_path: Path) -> None:
    again = _set(tmp_path)
    again.prepare()
    assert _digest(again) == _digest(made)


def test_many_processes_make_the_same_pictures(
    made: Synthetic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deblurlab.datasets.synthetic._MAX_SEQUENTIAL_PIXELS", 0)
    again = _set(tmp_path)
    again.prepare()
    assert _digest(again) == _digest(made)


def test_the_pictures_are_those_of_version_2(made: Synthetic) -> None:
    """Whoever changes them raises `_VERSION`, or published scores mean something else."""
    assert _digest(made) == "49d4e8b345650787b84845cc6690d40950433c5b83aea54ca41867d93bd2cb4a"


def test_the_other_kind_of_blur_has_the_same_sharp_pictures(made: Synthetic, tmp_path: Path) -> None:
    other = _set(tmp_path, "data.blur_key=blur")
    other.prepare()
    assert {pair.blurred.parent.name for pair in other.train()} == {"blur"}
    for mine, theirs in zip(made.train(), other.train(), strict=True):
        assert np.array_equal(read_image(mine.sharp), read_image(theirs.sharp))
        assert not np.array_equal(read_image(mine.blurred), read_image(theirs.blurred))


def test_a_wide_set_has_both_kinds_of_blur_and_is_tested_on_light(tmp_path: Path) -> None:
    wide = _set(tmp_path, "data.endless=false", "data.train=12", kind="synthetic_wide")
    wide.prepare()
    recipes = [json.loads(path.read_text()) for path in wide.folder.glob("train/scenes/recipe/*.json")]
    assert {recipe["blur_key"] for recipe in recipes} == {"blur", "blur_gamma"}
    recipes = [json.loads(path.read_text()) for path in wide.folder.glob("test/*/recipe/*.json")]
    assert {recipe["blur_key"] for recipe in recipes} == {"blur_gamma"}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.texture=2", "data.texture=2 must be between 0 and 1"),
        ("data.blur_key=either", "data.blur_key is 'either': blur or blur_gamma"),
        ("data.scenes.blur_key=blur", "data.scenes.blur_key=blur and data.test_photographs.blur_key=blur_gamma must"),
    ],
)
def test_settings_that_contradict_one_another_are_one_line(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(InstantiationException, match=said):
        _set(tmp_path, override)


def test_another_seed_gives_others_in_another_folder(made: Synthetic, tmp_path: Path) -> None:
    other = _set(tmp_path, "data.seed=1")
    other.prepare()
    assert other.folder.name != made.folder.name
    assert not np.array_equal(read_image(other.train()[0].sharp), read_image(made.train()[0].sharp))


def test_more_pairs_begin_with_the_same_pairs(made: Synthetic, tmp_path: Path) -> None:
    more = _set(tmp_path, "data.train=8")
    more.prepare()
    for mine, theirs in zip(made.train(), more.train(), strict=False):
        assert np.array_equal(read_image(mine.blurred), read_image(theirs.blurred))


def test_no_picture_is_in_two_sets(made: Synthetic) -> None:
    sets = {"train": made.train(), "val": made.val(), **made.tests()}
    where: dict[bytes, str] = {}
    for name, pairs in sets.items():
        for pair in pairs:
            assert where.setdefault(read_image(pair.blurred).tobytes(), name) == name
            assert where.setdefault(read_image(pair.sharp).tobytes(), name) == name


def test_no_photograph_is_among_training_or_validation_scenes(
    made: Synthetic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Made without access to any photograph, training and validation pairs are the same to the byte."""

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
    for mine, theirs in zip([*made.train(), *made.val()], [*blind.train(), *blind.val()], strict=True):
        assert mine.sharp.read_bytes() == theirs.sharp.read_bytes()


def test_test_pictures_are_the_photographs(made: Synthetic) -> None:
    """Sharp ones are what the middle of the photograph develops to: equal but for two roundings."""
    for pair in made.tests()["photographs"]:
        photograph = PHOTOGRAPHS[pair.group]()
        sharp = read_image(pair.sharp)
        margin = (photograph.shape[0] - sharp.shape[0]) // 2, (photograph.shape[1] - sharp.shape[1]) // 2
        middle = photograph[margin[0] : margin[0] + sharp.shape[0], margin[1] : margin[1] + sharp.shape[1]]
        assert np.abs(middle.astype(int) - sharp).max() <= 1


def test_blurs_of_a_photograph_differ(made: Synthetic) -> None:
    first, second = made.tests()["photographs"][:2]
    assert first.group == second.group
    assert not np.array_equal(read_image(first.blurred), read_image(second.blurred))


def test_each_pair_has_its_recipe(made: Synthetic) -> None:
    for pair in made.tests()["photographs"]:
        file = pair.blurred.parent.parent / "recipe" / f"{pair.blurred.stem}.json"
        assert 3 <= json.loads(file.read_text())["blur_length"] <= 15


def test_what_is_there_is_not_made_again(made: Synthetic) -> None:
    before = {p: p.stat().st_mtime_ns for p in made.folder.rglob("*")}
    made.prepare()
    assert {p: p.stat().st_mtime_ns for p in made.folder.rglob("*")} == before


def test_an_interrupted_attempt_is_continued_and_never_taken_for_whole(made: Synthetic, tmp_path: Path) -> None:
    interrupted = _set(tmp_path)
    partial = interrupted.folder.with_name(f".{interrupted.folder.name}.partial")
    tasks = list(interrupted._tasks(partial))[:3]
    for kind in ("blur_gamma", "sharp", "recipe"):
        (tasks[0].folder / kind).mkdir(parents=True)
    interrupted._write(tasks)
    (tasks[2].folder / "recipe" / "000002.json").unlink()  # was stopped before the last file of a pair
    assert not interrupted.folder.exists()
    kept = (tasks[0].folder / "blur_gamma" / "000000.png").stat().st_ino
    interrupted.prepare()
    assert (interrupted.train()[0].blurred).stat().st_ino == kept
    assert _digest(interrupted) == _digest(made)


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"can't be written to .*file/synthetic-.*data.root"):
        _set(tmp_path / "file").prepare()


def _photos(folder: Path, count: int, size: tuple[int, int] = (260, 280)) -> Path:
    """Photographs that can be told apart: each has a blue of its own."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        pixels[..., 2] = 20 * i
        write_png(folder / f"{i}.png", pixels)
    return folder


def test_scenes_can_be_made_from_photographs_of_ones_own(tmp_path: Path) -> None:
    photos = _photos(tmp_path / "photos", 5)
    still = [f"data.scenes.{key}=[0,0]" for key in ("objects", "softness", "rotation")]
    data = _set(tmp_path, f"data.source_images={photos}", *still)
    data.prepare()
    blues = [{int(np.median(read_image(pair.sharp)[..., 2])) for pair in pairs} for pairs in (data.train(), data.val())]
    assert blues[0] <= {0, 20, 40, 60}
    assert len(blues[0]) > 1
    assert blues[1] == {80}  # held out
    again = _set(tmp_path / "again", f"data.source_images={photos}", *still)
    again.prepare()
    assert _digest(again) == _digest(data)
    assert again.folder.name == data.folder.name != _set(tmp_path, *still).folder.name


def test_photographs_that_are_too_small_are_refused(tmp_path: Path) -> None:
    photos = _photos(tmp_path / "photos", 3, size=(80, 90))
    with pytest.raises(Exception) as caught:  # noqa: PT011
        _set(tmp_path, f"data.source_images={photos}")
    assert "of the 3 images in" in str(caught.value.__cause__)
