"""Releases on the model hub, on a local server."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deblurlab import Restorer
from deblurlab.checkpoints.load import generator_weights, load_model
from deblurlab.checkpoints.release import local_path, read_release
from deblurlab.cli.export import export
from deblurlab.errors import UserError
from deblurlab.restorers import Checkpoint
from hub_server import TOKEN, Hub, Repository, serving
from support import small_release

constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve a hub that huggingface_hub calls in this process and in others, with an empty cache and without a token."""
    with serving() as served:
        cache, token = str(tmp_path / "cache"), str(tmp_path / "token")
        for name, value in {"HF_HUB_CACHE": cache, "HF_TOKEN_PATH": token, "HF_HUB_DISABLE_XET": True}.items():
            monkeypatch.setattr(constants, name, value)
            monkeypatch.setenv(name, str(value))
        _set_endpoint(served.url, monkeypatch)
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield served


def _set_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_release(tmp_path_factory.mktemp("hub") / "small")


def _files(release: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in release.iterdir()}


@pytest.fixture
def published(hub: Hub, release: Path) -> Repository:
    """Return the repository `me/small` with the release on its main branch."""
    hub.repositories["me/small"] = Repository()
    hub.repositories["me/small"].commit(_files(release))
    return hub.repositories["me/small"]


def _downloads(hub: Hub) -> list[str]:
    return [request for request in hub.requests if request.startswith("GET") and re.search("/resolve/|/blob/", request)]


def _refused(address: str) -> str:
    with pytest.raises(UserError) as caught:
        local_path(address)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(address)
    return str(caught.value)


def _same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_release_on_the_hub_restores_as_the_local_one(hub: Hub, published: Repository, release: Path) -> None:
    image = np.random.default_rng(0).integers(256, size=(40, 50, 3), dtype=np.uint8)
    expected = Restorer.load(release, device="cpu").restore(image)
    assert not np.array_equal(expected, image)
    assert np.array_equal(Restorer.load("hf://me/small", device="cpu").restore(image), expected)
    downloaded = _downloads(hub)
    assert len(downloaded) == 2
    assert _same(load_model("hf://me/small").state_dict(), load_model(release).state_dict())
    assert _same(Checkpoint(path="hf://me/small@main")._model.state_dict(), load_model(release).state_dict())
    assert _downloads(hub) == downloaded


def test_the_command_line_reads_the_environment_of_huggingface_hub(published: Repository, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    command = [sys.executable, "-m", "deblurlab", "restore", "a.png", "-o", "out.png", "--weights", "hf://me/small"]
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (40, 30)


def test_a_revision_is_a_branch_or_a_commit(published: Repository, release: Path, tmp_path: Path) -> None:
    first = published.refs["main"]
    other = _files(small_release(tmp_path / "other", "unet_res", "model.width=6"))
    published.commit(other, ref="wide")
    widths = {
        revision: read_release(local_path(f"hf://me/small@{revision}"))[0]["model"]["arguments"]["width"]
        for revision in ("main", "wide", first, published.refs["wide"])
    }
    original = read_release(release)[0]["model"]["arguments"]["width"]
    assert widths == {"main": original, "wide": 6, first: original, published.refs["wide"]: 6}
    published.commit(other)
    assert read_release(local_path("hf://me/small"))[0]["model"]["arguments"]["width"] == 6


def test_the_cache_is_used_while_the_hub_cannot_be_reached(
    hub: Hub, published: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "can't be reached" in _unreachable("hf://me/small", monkeypatch, hub)
    before = local_path("hf://me/small")
    _set_endpoint("http://127.0.0.1:9", monkeypatch)
    assert local_path("hf://me/small") == before
    read_release(before)
    for address in ("hf://me/other", "hf://me/small@v1.0"):
        message = (
            rf"{address} isn't in the cache, and the hub can't be reached \(.*\): check the connection, HF_ENDPOINT .*"
        )
        assert re.fullmatch(message, _refused(address))


def _unreachable(address: str, monkeypatch: pytest.MonkeyPatch, hub: Hub) -> str:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = _refused(address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert hub.requests == []
    return message


def test_what_the_hub_does_not_have_is_one_line(published: Repository, hub: Hub) -> None:
    hub.repositories |= {"me/private": Repository(private=True), "me/gated": Repository(gated=True)}
    hub.repositories["me/private"].commit(published.commits[published.refs["main"]])
    hub.repositories["me/gated"].commit({})
    hub.repositories["me/images"] = Repository()
    hub.repositories["me/images"].commit({"a.png": b""})
    assert "doesn't exist or is private" in _refused("hf://me/missing")
    assert "doesn't exist or is private" in _refused("hf://me/private")
    assert "no such branch, tag or commit" in _refused("hf://me/small@v9")
    assert "is gated" in _refused("hf://me/gated")
    assert "it has no config.json" in _refused("hf://me/images")
    for address in ("hf://", "hf://small", "hf://me/small/x", "hf://me/..", "hf://me/small@", "hf://me/sm all"):
        assert "isn't an address" in _refused(address) or "failed" in _refused(address)


def test_answers_of_the_hub_are_told_from_a_lost_connection(
    published: Repository, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.failure = 401, "Invalid credentials in Authorization header"  # what the hub answers to an expired token
    assert _refused("hf://me/small@main") == (
        "hf://me/small@main failed: the hub refuses the token (Invalid credentials in Authorization header): give a "
        "valid one: `hf auth login`, or the environment variable HF_TOKEN"
    )
    hub.failure = 501, "\x1b[31mtomorrow"
    assert _refused("hf://me/small") == (
        r"hf://me/small failed: the hub answers with an error (501, \x1b[31mtomorrow): try again later"
    )
    hub.failure = None
    folder = local_path("hf://me/small")
    hub.failure = 501, "maintenance"
    assert local_path("hf://me/small") == folder


def test_a_token_opens_a_private_repository(
    published: Repository, monkeypatch: pytest.MonkeyPatch, release: Path
) -> None:
    published.private = True
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert _same(read_release(local_path("hf://me/small"))[1], read_release(release)[1])


def test_a_repository_of_another_project_is_refused(hub: Hub, published: Repository) -> None:
    published.commit({"config.json": b'{"architectures": ["BertModel"], "model_type": "bert"}'})
    for address in ("hf://me/small", "hf://me/small@main"):
        message = (
            rf"^{address}/config\.json isn't the index of a release of deblurlab \(it has no 'format'\): "
            r"deblurlab export writes releases, and deblurlab weights convert does from published weights$"
        )
        with pytest.raises(UserError, match=message):
            load_model(address)
    assert not [request for request in hub.requests if "model.safetensors" in request]  # it may have gigabytes


def test_changed_weights_are_refused(published: Repository) -> None:
    data = published.commits[published.refs["main"]]["model.safetensors"]
    published.commit({"model.safetensors": data[:-1] + bytes([data[-1] ^ 1])})
    with pytest.raises(UserError, match="isn't the file that was released"):
        load_model("hf://me/small")


def test_large_files_are_refused_before_they_are_downloaded(
    hub: Hub, published: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(published.commits[published.refs["main"]]["model.safetensors"])
    monkeypatch.setattr("deblurlab.checkpoints.release._MAX_BYTES", size - 1)
    assert f"its model.safetensors has {size} bytes, at most {size - 1} can be" in _refused("hf://me/small")
    assert not [request for request in hub.requests if "/blob/" in request]


def test_links_are_followed_within_the_cache_only(published: Repository, tmp_path: Path) -> None:
    folder = local_path("hf://me/small")
    weights = folder / "model.safetensors"
    assert weights.is_symlink()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "config.json").write_bytes((folder / "config.json").read_bytes())
    (copy / "model.safetensors").symlink_to(weights.resolve())
    with pytest.raises(UserError, match="names a file outside the release"):
        read_release(copy)
    (tmp_path / "secret").write_bytes(weights.read_bytes())
    weights.unlink()
    weights.symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="names a file outside the release"):
        read_release(folder)


def test_without_huggingface_hub_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert _refused("hf://me/small").endswith("needs huggingface_hub: pip install 'deblurlab[hub]'")


def test_a_run_is_pushed_with_its_model_card_and_loaded_again(
    trained: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    export([str(trained), "--push", "me/net", "--license", "mit"])
    commit = hub.repositories["me/net"].refs["main"]
    assert capsys.readouterr().out.endswith(f"{hub.url}/me/net/commit/{commit}\n")
    files = hub.repositories["me/net"].commits[commit]
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]
    assert _same(load_model("hf://me/net").state_dict(), generator_weights(trained))
    assert "--weights hf://me/net\n" in files["README.md"].decode()
    export([str(trained), "--push", "me/net", "--half", "-o", "half"])  # the repository exists
    assert _files(Path("half")) == hub.repositories["me/net"].commits[hub.repositories["me/net"].refs["main"]]


def test_pushing_without_rights_or_connection_is_one_line_and_writes_nothing(
    trained: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def message(repository: str) -> str:
        with pytest.raises(SystemExit) as end:
            export([str(trained), "--push", repository, "-o", "released"])
        assert not Path("released").exists()
        assert len(str(end.value).splitlines()) == 1
        return str(end.value)

    assert "needs a token of the hub" in message("me/net")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert message("me/net") == (
        "deblurlab: --push me/net failed: the hub refuses the token (Invalid username or password.): give a valid one: "
        "`hf auth login`, or the environment variable HF_TOKEN"
    )
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert message("you/net") == (
        "deblurlab: --push you/net failed: the hub refuses it (You don't have the rights to create a model under you): "
        "check the owner's name and the rights of the token, from `hf auth login`, or the environment variable HF_TOKEN"
    )
    assert "isn't the name of a repository" in message("net")
    _set_endpoint("http://127.0.0.1:9", monkeypatch)
    unreachable = r"deblurlab: --push me/net failed: the hub can't be reached \(.*refused.*\): check the connection, .*"
    assert re.fullmatch(unreachable, message("me/net"))


def test_options_of_releases_are_refused_for_other_formats(capsys: pytest.CaptureFixture[str]) -> None:
    for options, expected in (
        ([], "there is no destination"),
        (["--format", "onnx", "--push", "me/a"], "--format onnx requires -o FILE, without --push and --license"),
        (["--format", "onnx", "-o", "a", "--push", "me/a"], "without --push"),
        (["--format", "onnx", "-o", "a", "--license", "mit"], "without --push and --license"),
    ):
        with pytest.raises(SystemExit) as end:
            export(["run", *options])
        assert end.value.code == 2
        assert expected in capsys.readouterr().err


def test_init_starts_from_a_release_on_the_hub(hub: Hub, train: Callable[..., Path], trained: Path) -> None:
    export([str(trained), "-o", "released"])
    hub.repositories["me/net"] = Repository()
    hub.repositories["me/net"].commit(_files(Path("released")), ref="v1.0")
    # With a learning rate of 0 what comes out is what went in.
    train("optimizer.lr=0", "scheduler=constant", "init=hf://me/net@v1.0", "name=tuned")
    assert _same(generator_weights(Path("runs/tuned")), generator_weights(trained))


def test_serve_reads_weights_from_the_hub(published: Repository, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    command = [sys.executable, "-m", "deblurlab", "serve", "--port", "0", "--weights", "hf://me/small"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    line = process.stdout.readline()
    process.terminate()
    process.wait(30)
    assert re.match(r"http://127\.0\.0\.1:\d+", line)
