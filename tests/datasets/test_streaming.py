"""Shards, in a folder and in an object store over HTTP."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from deblurlab.config import instantiate
from deblurlab.dataloading import DataModule
from deblurlab.datasets import Disjoint, Mixed, Streaming, Unpaired
from deblurlab.errors import UserError
from deblurlab.media.images import read_image, write_png
from support import config, data_command, feeding

pytest.importorskip("litdata")


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """Address of a bucket on a local S3 server."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        import boto3

        boto3.client("s3").create_bucket(Bucket="shards")
        yield "s3://shards"
    server.stop()


def _place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "shards") if kind == "folder" else f"{request.getfixturevalue('store')}/{tmp_path.name}"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, gopro_tree: Path) -> Path:
    """Shards of `gopro_tree` in a folder, only read."""
    place = tmp_path_factory.mktemp("shards") / "shards"
    assert data_command("pack", "gopro", gopro_tree, "data.validation=1", "--streaming", place) == 0
    return place


def _opened(place: str) -> Streaming:
    data: Streaming = instantiate(config("data=streaming", f"data.root={place}").data)
    data.prepare()
    return data


@pytest.mark.parametrize("kind", ["folder", "store"])
def test_shards_are_read_back(kind: str, request: pytest.FixtureRequest, tmp_path: Path, gopro_tree: Path) -> None:
    place = _place(kind, request, tmp_path)
    source = instantiate(config("data=gopro", f"data.root={gopro_tree}", "data.validation=1").data)
    arguments = ["pack", "gopro", str(gopro_tree), "data.validation=1", "--streaming", place]
    assert data_command(*arguments) == 0
    data = _opened(place)
    read = data.read
    parts = [
        (source.items("train"), data.items("train")),
        (source.items("val"), data.items("val")),
        (source.tests()["gopro"], data.tests()["gopro"]),
    ]
    for expected, actual in parts:
        assert [pair.name for pair in actual] == [pair.name for pair in expected]
        for pair, original in zip(actual, expected, strict=True):
            assert np.array_equal(read(pair.blurred), read_image(original.blurred))
            assert np.array_equal(read(pair.sharp), read_image(original.sharp))
    with pytest.raises(UserError, match="choose another (folder|place)"):
        data_command(*arguments)


@pytest.mark.parametrize("kind", ["folder", "store"])
def test_workers_read_the_same_samples(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, gopro_tree: Path
) -> None:
    if kind == "folder":
        place = str(request.getfixturevalue("shards"))
    else:
        place = _place(kind, request, tmp_path)
        assert data_command("pack", "gopro", gopro_tree, "data.validation=1", "--streaming", place) == 0
    augmentation = instantiate(config("augment.size=16").augment)
    epochs = []
    for workers in (0, 2):
        module = DataModule(
            data=_opened(place),
            augmentations=lambda size: augmentation,
            size=16,
            batch_size=2,
            workers=workers,
            repeat=4,
        )
        loader = feeding(module).train_dataloader()
        epochs.append([batch["blurred"] for batch in loader])
        loader.close()
    assert len(epochs[0]) >= 4
    assert all(torch.equal(a, b) for a, b in zip(*epochs, strict=True))


def test_incomplete_shards_are_refused(tmp_path: Path, gopro_tree: Path) -> None:
    (tmp_path / "shards" / "images").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no shards or can't be reached.*--streaming OUT"):
        _opened(str(tmp_path / "shards"))


def test_a_failed_call_leaves_no_shards_and_can_be_repeated(tmp_path: Path, gopro_copy: Path) -> None:
    broken = sorted(gopro_copy.glob("test/*/sharp/*.png"))[-1]
    content = broken.read_bytes()
    broken.write_bytes(content[:-300])
    place = tmp_path / "shards"
    arguments = ["pack", "gopro", str(gopro_copy), "data.validation=1", "--streaming", str(place)]
    with pytest.raises(UserError, match="is damaged or truncated"):
        data_command(*arguments)
    assert not place.exists()
    broken.write_bytes(content)
    assert data_command(*arguments) == 0
    assert _opened(str(place)).items("train")


def test_an_unreachable_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    with pytest.raises(UserError, match="data.root=s3://nowhere/set holds no shards or can't be reached"):
        _opened("s3://nowhere/set")


def test_without_litdata_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "litdata", None)
    with pytest.raises(UserError, match=re.escape("pip install 'deblurlab[streaming]'")):
        _opened(str(tmp_path))


@pytest.mark.slow
def test_it_trains(tmp_path: Path, gopro_tree: Path, store: str, train: Callable[..., Path]) -> None:
    place = f"{store}/{tmp_path.name}"
    assert data_command("pack", "gopro", gopro_tree, "data.validation=1", "--streaming", place) == 0
    run = train("data=streaming", f"data.root={place}", "augment.size=32")
    assert (run / "results.json").is_file()
    assert os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1")


def _tree(root: Path, level: int) -> Path:
    for place in ("train/a", "train/b", "test/c"):
        for kind in ("blur", "sharp"):
            (root / place / kind).mkdir(parents=True)
            write_png(root / place / kind / "0.png", np.full((64, 64, 3), level, np.uint8))
    return root


def test_two_data_sets_of_shards_are_read_independently(tmp_path: Path) -> None:
    for name, level in (("dark", 10), ("light", 200)):
        tree = _tree(tmp_path / name, level)
        arguments = ["pack", "gopro", tree, "data.validation=1", "--streaming", tmp_path / f"{name}-shards"]
        assert data_command(*arguments) == 0
    sets = {name: Streaming(root=str(tmp_path / f"{name}-shards")) for name in ("dark", "light")}
    mixed = Mixed(sets=sets, weights={"dark": 1.0, "light": 1.0})
    read = mixed.read
    assert [int(read(pair.sharp)[0, 0, 0]) for pair in mixed.items("train")] == [10, 200]
    unpaired = Unpaired(blurred=sets["dark"], sharp=sets["light"])
    read = unpaired.read
    assert [int(read(unpaired.images(side)[0].image)[0, 0, 0]) for side in ("blurred", "sharp")] == [10, 200]


def test_shards_are_divided_into_unpaired_halves(shards: Path) -> None:
    source = Streaming(root=str(shards))
    data = Disjoint(of=source)
    data.prepare()
    sides = [data.images(side) for side in ("blurred", "sharp")]
    assert sum(map(len, sides)) == len(source.items("train"))
    read = data.read
    assert all(read(single.image).ndim == 3 for single in itertools.chain(*sides))


def test_shards_at_the_root_of_a_bucket_are_not_overwritten(gopro_tree: Path, store: str) -> None:
    import boto3

    boto3.client("s3").create_bucket(Bucket="another")
    arguments = ["pack", "gopro", gopro_tree, "data.validation=1", "--streaming", "s3://another"]
    assert data_command(*arguments) == 0
    with pytest.raises(UserError, match="holds shards already"):
        data_command(*arguments)
    assert _opened("s3://another").items("train")


@pytest.mark.parametrize(
    ("place", "message"),
    [("s3://", "shards are written to a folder or to s3://"), ("gs://bucket/x", "shards are written to a folder or to"),
     ("s3://not-there/x", "s3://not-there/x can't be written")],
)  # fmt: skip
def test_unwritable_places_are_named(place: str, message: str, gopro_tree: Path, store: str) -> None:
    with pytest.raises(UserError, match=message):
        data_command("pack", "gopro", gopro_tree, "data.validation=1", "--streaming", place)


def test_missing_shards_are_named(shards: Path, tmp_path: Path) -> None:
    place = shutil.copytree(shards, tmp_path / "shards")
    data = _opened(str(place))
    for shard in (place / "images").glob("*.bin"):
        shard.unlink()
    with pytest.raises(UserError, match=r"data.root=.*shards: sample 0 can't be read"):
        data.read(data.items("train")[0].blurred)


@pytest.mark.slow
def test_temporary_files_are_deleted(tmp_path: Path, gopro_tree: Path, store: str) -> None:
    place = f"{store}/{tmp_path.name}"
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "deblurlab", "data"]
    packing = [*command, "pack", "gopro", str(gopro_tree), "data.validation=1", "--streaming", place]
    subprocess.run(packing, env=environment, check=True)
    subprocess.run([*command, "show", "streaming", place, "-o", str(tmp_path / "x.png")], env=environment, check=True)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_shards_can_be_checked_but_not_packed_again(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data_command("check", "streaming", shards) == 0
    assert re.search(r"train\W+4\W+.*96x72", capsys.readouterr().out)
    with pytest.raises(UserError, match="a/000001 isn't a pair of image files, and shards hold nothing else"):
        data_command("pack", "streaming", shards, "--streaming", tmp_path / "more")
    assert not (tmp_path / "more").exists()
    with pytest.raises(UserError, match="data=streaming has no image files"):
        data_command("pack", "streaming", shards)


def test_threads_get_the_images_that_they_asked_for(shards: Path) -> None:
    """An evaluation reads images ahead in several threads, and a pair's bytes are kept for its second image."""
    data = _opened(str(shards))
    images = [image for pair in data.items("train") for image in pair.images]
    expected = [data.read(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert all(map(np.array_equal, pool.map(data.read, 10 * images), 10 * expected))


def test_a_data_set_without_pairs_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "kohler").mkdir()
    write_png(tmp_path / "kohler" / "some.png", np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(UserError, match="there are no pairs"):
        data_command("pack", "kohler", tmp_path / "kohler", "--streaming", tmp_path / "shards")
    assert not (tmp_path / "shards").exists()
