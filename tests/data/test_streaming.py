"""Shards, in a folder and in an object store over HTTP."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from deblurlab.data import DataModule, Streaming
from deblurlab.data.images import read_image
from deblurlab.errors import UserError
from support import config, data_command, feeding

pytest.importorskip("litdata")


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """A bucket of a real server on this machine."""
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


def _opened(place: str) -> Streaming:
    data: Streaming = instantiate(config("data=streaming", f"data.root={place}").data, _convert_="all")
    data.prepare()
    return data


@pytest.mark.parametrize("kind", ["folder", "store"])
def test_what_is_packed_is_read(kind: str, request: pytest.FixtureRequest, tmp_path: Path, gopro_tree: Path) -> None:
    place = _place(kind, request, tmp_path)
    source = instantiate(config("data=gopro", f"data.root={gopro_tree}", "data.validation=1").data, _convert_="all")
    arguments = ["pack", "gopro", str(gopro_tree), "data.validation=1", "--streaming", place]
    assert data_command(*arguments) == 0
    data = _opened(place)
    read = data.reader()
    parts = [
        (source.train(), data.train()),
        (source.val(), data.val()),
        (source.tests()["gopro"], data.tests()["gopro"]),
    ]
    for theirs, mine in parts:
        assert [pair.name for pair in mine] == [pair.name for pair in theirs]
        for pair, original in zip(mine, theirs, strict=True):
            assert np.array_equal(read(pair.blurred), read_image(original.blurred))
            assert np.array_equal(read(pair.sharp), read_image(original.sharp))
    with pytest.raises(UserError, match="choose another (folder|place)"):
        data_command(*arguments)


@pytest.mark.parametrize("kind", ["folder", "store"])
def test_workers_read_the_same_samples(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, gopro_tree: Path
) -> None:
    place = _place(kind, request, tmp_path)
    assert data_command("pack", "gopro", gopro_tree, "data.validation=1", "--streaming", place) == 0
    augmentation = instantiate(config("augment.size=16").augment, _convert_="all")
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
        epochs.append([batch["blurred"] for batch in feeding(module).train_dataloader()])
    assert len(epochs[0]) >= 4
    assert all(torch.equal(a, b) for a, b in zip(*epochs, strict=True))


def test_half_written_shards_are_not_read(tmp_path: Path, gopro_tree: Path) -> None:
    (tmp_path / "shards" / "images").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no shards or can't be reached.*--streaming OUT"):
        _opened(str(tmp_path / "shards"))


def test_an_interrupted_attempt_leaves_no_shards_and_can_be_repeated(tmp_path: Path, gopro_tree: Path) -> None:
    broken = sorted(gopro_tree.glob("test/*/sharp/*.png"))[-1]
    content = broken.read_bytes()
    broken.write_bytes(content[:-300])
    place = tmp_path / "shards"
    arguments = ["pack", "gopro", str(gopro_tree), "data.validation=1", "--streaming", str(place)]
    with pytest.raises(UserError, match="is damaged or truncated"):
        data_command(*arguments)
    assert not place.exists()
    broken.write_bytes(content)
    assert data_command(*arguments) == 0
    assert _opened(str(place)).train()


def test_a_store_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    with pytest.raises(UserError, match="data.root=s3://nowhere/set holds no shards or can't be reached"):
        _opened("s3://nowhere/set")


def test_without_litdata_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "litdata", None)
    with pytest.raises(UserError, match=re.escape("pip install 'deblurlab[streaming]'")):
        _opened(str(tmp_path))


def test_it_trains(tmp_path: Path, gopro_tree: Path, store: str, train: Callable[..., Path]) -> None:
    place = f"{store}/{tmp_path.name}"
    assert data_command("pack", "gopro", gopro_tree, "data.validation=1", "--streaming", place) == 0
    run = train("data=streaming", f"data.root={place}", "augment.size=32")
    assert (run / "results.json").is_file()
    assert os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1")
