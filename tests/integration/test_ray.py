"""`deblurlab restore --engine ray` with a Ray cluster on this machine and an S3 server (moto)."""

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image

from deblurlab import Restorer
from deblurlab.batch.cluster import ClusterJob, restore
from deblurlab.cli.restore import restore as restore_command
from deblurlab.errors import UserError
from support import small_release

pytest.importorskip("ray")
RNG = np.random.default_rng(0)


class _FailingStore:
    """S3 application that answers the first of some requests with 409, which boto3 doesn't retry."""

    def __init__(self, store: Callable[..., Iterable[bytes]]) -> None:
        self._store = store
        self.failing: set[tuple[str, str]] = set()
        self.answered: list[tuple[str, str]] = []

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        request = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if request not in self.failing:
            return self._store(environ, start)
        self.failing.remove(request)
        self.answered.append(request)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start("409 Conflict", [("Content-Type", "application/xml")])
        return [b"<Error><Code>OperationAborted</Code><Message>try again</Message></Error>"]


@pytest.fixture(scope="module")
def store() -> Iterator[_FailingStore]:
    """Start an S3 server on this machine with the bucket `photos`."""
    pytest.importorskip("moto.server")
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    application = _FailingStore(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key", "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        _client().create_bucket(Bucket="photos")
        yield application
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def cluster(store: _FailingStore) -> Iterator[str]:
    """Start a Ray cluster on this machine, whose workers know the store; return its address."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_release(tmp_path_factory.mktemp("release") / "small")


def _client() -> Any:
    import boto3

    return boto3.client("s3")


def _images(folder: Path) -> dict[str, bytes]:
    """Return image files of several formats by key; one of them is truncated."""
    pixels, exif = RNG.integers(0, 256, (40, 56, 4), np.uint8), Image.Exif()
    exif[0x010F] = "a camera"
    Image.fromarray(pixels[..., :3]).save(folder / "photo.JPG", "jpeg", quality=90, exif=exif)
    Image.fromarray(pixels).save(folder / "clear.png")
    Image.fromarray(pixels[:32, :, :3]).save(folder / "plain.tif")
    Image.fromarray(pixels[..., :3]).save(folder / "bad.png")
    deep = RNG.integers(0, 65536, (40, 56, 3), np.uint16)
    pyvips.Image.new_from_array(deep).copy(interpretation="rgb16").pngsave(str(folder / "deep.png"))
    images = {f"{i}/{file.name}": file.read_bytes() for i, file in enumerate(sorted(folder.iterdir()))}
    return {key: content[: len(content) // 2] if "bad" in key else content for key, content in images.items()}


def _restore(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        restore_command([str(argument) for argument in arguments])
    assert isinstance(end.value.code, int), end.value.code
    return end.value.code


def _pixels(content: bytes) -> np.ndarray:
    return pyvips.Image.new_from_buffer(content, "").numpy()


def _objects(prefix: str) -> dict[str, tuple[str, object]]:
    """Return the ETag and the time of the stored objects by key."""
    found = _client().list_objects_v2(Bucket="photos", Prefix=prefix).get("Contents", [])
    return {one["Key"].removeprefix(prefix): (one["ETag"], one["LastModified"]) for one in found}


def test_a_machine_without_the_weights_ends_the_run_with_one_line(release: Path, tmp_path: Path) -> None:
    """Without an address a new cluster is started, as long as this machine has none: before `cluster`."""
    (tmp_path / "in").mkdir()
    Image.fromarray(RNG.integers(0, 256, (30, 40, 3), np.uint8)).save(tmp_path / "in" / "x.png")
    here = os.getpid()

    def load(device: str) -> Restorer:
        return Restorer.load(release if os.getpid() == here else "elsewhere", device=device)

    with pytest.raises(UserError, match="there are no weights elsewhere: .* .each machine needs the same weights"):
        restore(ClusterJob(source=str(tmp_path / "in"), target=str(tmp_path / "out")), load)


def test_a_bucket_is_restored_and_a_second_run_skips_restored_objects(
    store: _FailingStore, cluster: str, release: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    s3, images = _client(), _images(tmp_path)
    for key, content in images.items():
        s3.put_object(Bucket="photos", Key=f"some/in/{key}", Body=content)
    s3.put_object(Bucket="photos", Key="some/in/notes.txt", Body=b"not an image")
    s3.put_object(Bucket="photos", Key="some/input.png", Body=b"beside the prefix")
    key = next(key for key in images if "deep" in key)
    store.failing = {("HEAD", f"/photos/some/in/{key}"), ("PUT", f"/photos/some/in/restored/{key}")}
    command = [
        "--engine", "ray", "--input", "s3://photos/some/in", "-o", "s3://photos/some/in/restored", "--weights", release,
        "--precision", "fp32",  # the same on every processor
        "--address", cluster,
    ]  # fmt: skip
    assert _restore(*command) == 1
    assert sorted(store.answered) == [
        ("HEAD", f"/photos/some/in/{key}"),
        ("PUT", f"/photos/some/in/restored/{key}"),
    ]
    output = capfd.readouterr()
    assert output.out == ""
    assert "deblurlab: s3://photos/some/in/0/bad.png is damaged or truncated" in output.err
    assert "4 restored, 1 failed" in output.err
    assert "Traceback" not in output.err

    first, network = _objects("some/in/restored/"), Restorer.load(release, device="cpu")
    assert first.keys() == {key for key in images if "bad" not in key}
    for key in first:
        answer = s3.get_object(Bucket="photos", Key=f"some/in/restored/{key}")
        content = answer["Body"].read()
        (tmp_path / "original").write_bytes(images[key])
        expected = network.restore(tmp_path / "original")
        found = _pixels(content)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        if not key.endswith(".JPG"):
            assert np.array_equal(found, expected)
            assert answer["ContentType"] == f"image/{'tiff' if key.endswith('.tif') else 'png'}"
        else:  # compressed, with a little loss
            assert np.abs(found.astype(int) - expected).mean() < 3
            assert Image.open(io.BytesIO(content)).getexif()[0x010F] == "a camera"

    s3.put_object(Bucket="photos", Key="some/in/0/bad.png", Body=(tmp_path / "bad.png").read_bytes())
    assert _restore(*command) == 0
    assert "1 restored, 4 skipped" in capfd.readouterr().err
    second = _objects("some/in/restored/")
    assert {key: second[key] for key in first} == first
    assert second.keys() - first.keys() == {"0/bad.png"}
    assert _restore(*command) == 0
    assert "0 restored, 5 skipped" in capfd.readouterr().err
    assert _objects("some/in/restored/") == second


def test_an_image_that_kills_its_worker_is_reported_and_the_others_are_restored(
    cluster: str, release: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for i, width in enumerate((40, 33, 40, 40)):
        Image.fromarray(RNG.integers(0, 256, (30, width, 3), np.uint8)).save(tmp_path / "in" / f"{i}.png")

    def load(device: str) -> Restorer:
        network = Restorer.load(release, device=device)
        rows = network.rows
        network.rows = lambda image: os._exit(1) if image.width == 33 else rows(image)  # type: ignore[method-assign]
        return network

    job = ClusterJob(source=str(tmp_path / "in"), target=str(tmp_path / "out"), workers=2, address=cluster)
    assert restore(job, load) == 1
    output = capfd.readouterr().err
    assert f"deblurlab: {tmp_path}/in/1.png can't be restored: its worker died in every retry" in output
    assert "3 restored, 1 failed" in output
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["0.png", "2.png", "3.png"]


def test_an_unreachable_cluster_is_reported(release: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(RNG.integers(0, 256, (30, 40, 3), np.uint8)).save(tmp_path / "in" / "x.png")
    job = ClusterJob(source=str(tmp_path / "in"), target=str(tmp_path / "out"), address="127.0.0.1:9")
    with pytest.raises(UserError, match="there is no Ray cluster at 127.0.0.1:9"):
        restore(job, lambda device: Restorer.load(release, device=device))
