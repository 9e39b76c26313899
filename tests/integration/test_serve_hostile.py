"""`deblurlab serve` with malicious requests and with many clients."""

import io
import json
import os
import random
import socket
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from support import Server, served

TRANSFER, KEEP, QUEUE = 2, 4, 16


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = f"--max-megabytes 1 --max-megapixels 0.5 --queue {QUEUE} --transfer-seconds {TRANSFER}"
    with served(tmp_path_factory.mktemp("serve"), *options.split(), "--keep-seconds", str(KEEP)) as server:
        yield server
        until = time.monotonic() + 5 * KEEP
        while left := _files(server, "page"):
            assert time.monotonic() < until, left
            time.sleep(0.5)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, timeout=60) as client:
        yield client


def _image(kind: str, size: tuple[int, int] = (48, 40), seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(file, kind)
    return file.getvalue()


PNG, JPEG = _image("png"), _image("jpeg")


@pytest.fixture(autouse=True)
def _same_response_before_and_after(client: httpx.Client, server: Server) -> Iterator[None]:
    """Check after every test that the server restores an image to the same bytes and keeps only the page's files."""
    before = client.post("/restore", content=PNG)
    yield
    after = client.post("/restore", content=PNG)
    assert (before.status_code, after.status_code, before.content == after.content) == (200, 200, True)
    time.sleep(0.1)
    assert {file.name for file in _files(server)} == {"page"}


def _files(server: Server, place: str = ".") -> list[Path]:
    (folder,) = server.folder.glob("deblurlab-*")
    return list((folder / place).iterdir())


def _wide() -> bytes:
    """Return a PNG whose header states 900 megapixels."""
    head = b"IHDR" + (30_000).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    return PNG[:8] + (13).to_bytes(4) + head + zlib.crc32(head).to_bytes(4) + PNG[33:]


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../etc/passwd", "x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "statuses"),
    [
        (b"", {422}),
        (bytes(1000), {422}),
        (random.Random(0).randbytes(100_000), {422}),
        (PNG[: len(PNG) // 2], {422}),
        (PNG[:20], {422}),
        (JPEG[: len(JPEG) // 2], {422}),
        (JPEG[:4], {422}),
        (_wide(), {413}),
        (_zip(), {422}),
        (_zip() + PNG, {422}),
        (PNG + _zip(), {200}),
        (b"<?php system('id') ?>" + JPEG, {422}),
        (b"GIF89a" + PNG, {422}),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", {422}),
        (b"%PDF-1.7\n", {422}),
        (b"push graphic-context\nimage over 0,0 0,0 '/etc/passwd'\n", {422}),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", {422}),
        (b"BM" + bytes(60), {422}),
        (b"II*\0" + b"\xff" * 60, {422}),
        (b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(40), {422}),
        (b"x" * 1_000_001, {413}),
    ],
)
def test_files_that_are_not_images_are_refused(client: httpx.Client, content: bytes, statuses: set[int]) -> None:
    answer = client.post("/restore", content=content)
    assert answer.status_code in statuses, answer.text
    assert "/deblurlab-" not in answer.text


def _form(content: bytes, name: bytes = b"a.png", field: bytes = b"files") -> bytes:
    head = b'Content-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: image/png' % (field, name)
    return b"--edge\r\n" + head + b"\r\n\r\n" + content + b"\r\n--edge--\r\n"


def _upload(client: httpx.Client, body: bytes, kind: str = "multipart/form-data; boundary=edge") -> httpx.Response:
    return client.post("/gradio_api/upload", content=body, headers={"Content-Type": kind})


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (_form(PNG), "multipart/form-data; boundary=other", 400),
        (_form(PNG), "multipart/form-data", 400),
        (_form(PNG), "text/plain", 400),
        (_form(PNG)[:60], "multipart/form-data; boundary=edge", 200),
        (_form(PNG, field=b"else"), "multipart/form-data; boundary=edge", 200),
        (_form(PNG)[:-8] + _form(PNG), "multipart/form-data; boundary=edge", 200),
        (_form(bytes(1_070_000)), "multipart/form-data; boundary=edge", 413),
        (b"", "multipart/form-data; boundary=edge", 200),
    ],
    ids=["other", "none", "text", "cut", "field", "two", "large", "empty"],
)
def test_malformed_forms_are_refused_or_ignored(client: httpx.Client, body: bytes, kind: str, status: int) -> None:
    assert _upload(client, body, kind).status_code == status


def _mutated(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(changed))
        match rng.randrange(4):
            case 0:
                changed[at] = rng.randrange(256)
            case 1:
                del changed[at : at + rng.randint(1, 40)]
            case 2:
                changed[at:at] = rng.randbytes(rng.randint(1, 40))
            case _:
                changed[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\r\n\r\n"])
        changed = changed or bytearray(b"\0")
    return bytes(changed)


def test_three_hundred_mutated_requests_give_no_server_error(client: httpx.Client) -> None:
    rng, found = random.Random(0), Counter[int]()
    for _ in range(100):
        for content in (PNG, JPEG):
            found[client.post("/restore", content=_mutated(content, rng)).status_code] += 1
        found[_upload(client, _mutated(_form(PNG[:300]), rng)).status_code] += 1
    assert found.total() == 300
    assert found.keys() <= {200, 400, 413, 422}, found
    assert found[422] > 50


SECRET = "root:"


@pytest.mark.parametrize(
    "path",
    [
        *(f"/gradio_api/file={name}" for name in ("/etc/passwd", "../../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd")),
        *(f"/gradio_api/file={name}" for name in ("", "/", "%00", "a" * 10_000, "http://127.0.0.1/", "file:///etc/passwd")),
        "/gradio_api/file//etc/passwd", "/gradio_api/proxy=http://127.0.0.1/", "/static/../../../../etc/passwd",
        "/static/..%2f..%2f..%2f..%2fetc/passwd", "/assets/%2fetc%2fpasswd", "/assets/" + "a" * 5000,
        "/svelte/..%2f..%2fetc/passwd", "/gradio_api/custom_component/x/client/y/z", "/monitoring",
        "/monitoring/summary",
        "/gradio_api/info", "/gradio_api/openapi.json", "/openapi.json", "/docs", "/gradio_api/queue/status",
        "/gradio_api/dev/reload", "/gradio_api/deep_link?session_hash=x", "/gradio_api/run-history/buckets",
        "/gradio_api/vibe-code", "/gradio_api/stream/a/b/1/playlist-file", "/pwa_icon/9", "/restore",
    ],
)  # fmt: skip
def test_paths_outside_of_the_page_are_refused(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert 400 <= answer.status_code < 500, answer.text
    assert SECRET not in answer.text


@pytest.mark.parametrize("name", ["component_server", "process_recording", "vibe-edit", "run/restore", "call/restore"])
def test_routes_that_the_page_does_not_need_are_disabled(client: httpx.Client, name: str) -> None:
    assert client.post(f"/gradio_api/{name}", json={"data": []}).status_code == 404
    assert client.put("/restore", content=PNG).status_code == 404


@pytest.mark.parametrize(
    "name",
    [b"../../x", b"/etc/x", b"..", b".", b"", b"a\0b", b"n" * 10_000, b"n" * 4000, b"\xff\xfe", b"..\\..\\x", b"~/x"],
)
def test_uploads_with_any_name_are_stored_in_their_folder(client: httpx.Client, server: Server, name: bytes) -> None:
    answer = _upload(client, _form(PNG, name))
    assert answer.status_code in (200, 400, 413), answer.text
    for file in answer.json() if answer.status_code == 200 else []:
        assert Path(file).resolve().parent.parent in server.folder.resolve().glob("deblurlab-*/page")
    assert not any(Path("/etc/x").exists() or (server.folder.parents[i] / "x").exists() for i in range(3))


def _join(client: httpx.Client, photograph: Any, model: Any = "small", strength: Any = 1.0, **more: Any) -> Any:
    data = {"data": [photograph, model, strength], "fn_index": 0, "session_hash": "visitor", **more}
    return client.post("/gradio_api/queue/join", json=data)


def _file(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def test_the_page_restores_an_uploaded_file(client: httpx.Client) -> None:
    bitmap = _image("bmp")
    (path,) = _upload(client, _form(bitmap, b"holiday.bmp")).json()
    assert _join(client, _file(path)).status_code == 200
    with client.stream("GET", "/gradio_api/queue/data?session_hash=visitor") as events:
        messages = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
    (done,) = [message["output"] for message in messages if message["msg"] == "process_completed"]
    restored = done["data"][1]["value"]["path"]
    answer = client.get(f"/gradio_api/file={restored}")
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.size) == ("BMP", (40, 48))
    assert answer.content == client.post("/restore", content=bitmap).content


def test_a_request_for_a_file_that_was_not_uploaded_is_refused(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(PNG)
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.settimeout(0.2)
        address = f"http://127.0.0.1:{inside.getsockname()[1]}/x.png"
        mine = _file(str(tmp_path / "mine.png"))
        for request in (
            {"photograph": _file("/etc/passwd")},
            {"photograph": _file("/etc/passwd", orig_name="a.svg")},
            {"photograph": _file("../../../../etc/passwd", url=address)},
            {"photograph": mine},
            {"photograph": {**mine, "is_stream": True}},
            {"photograph": _file(address)},
            {"photograph": _file("/etc/\0passwd")},
            {"photograph": [mine]},
            {"photograph": "/etc/passwd"},
            {"photograph": None, "model": mine},
            {"photograph": None, "strength": mine},
            {"photograph": None, "session_hash": mine},
            {"photograph": None, "session_hash": "x" * 1000},
        ):
            assert _join(client, **request).status_code == 422, request
        assert _join(client, _file("/etc/passwd"), padding="x" * 70_000).status_code == 413
        with pytest.raises(TimeoutError):
            inside.accept()
    assert [file.name for file in tmp_path.iterdir()] == ["mine.png"]


@pytest.mark.parametrize("path", ["/", "/restore", "/config"])
def test_other_host_names_are_refused(client: httpx.Client, path: str) -> None:
    """DNS rebinding: if evil.example resolves to this machine, its page has the same origin as the server."""
    for host, status in (("evil.example", {400}), ("evil.example:80", {400}), ("localhost", {200, 404, 405})):
        assert client.get(path, headers={"Host": host}).status_code in status


def test_cross_site_posts_are_refused(client: httpx.Client) -> None:
    answer = client.post(
        "/restore", content=PNG, headers={"Sec-Fetch-Site": "cross-site", "Origin": "http://elsewhere"}
    )
    assert answer.status_code == 403


def _answer(server: Server, *sent: bytes, pause: float = 0.0) -> tuple[bytes, float]:
    """Return what is received until the connection is closed, and the number of seconds."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])), timeout=30) as connection:
        received = b""
        try:
            for part in sent:
                connection.sendall(part)
                time.sleep(pause)
            while more := connection.recv(1 << 16):
                received += more
        except (ConnectionError, BrokenPipeError):
            pass
    return received, time.monotonic() - began


HEAD = b"POST /restore HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ([HEAD + b"Content-Length: 99999\r\n\r\n" + PNG], b"408"),
        ([HEAD + b"Content-Length: 10\r\n\r\n" + PNG], b"422"),
        ([HEAD + b"Content-Length: 99999999999\r\n\r\n" + PNG], b"413"),
        ([HEAD + b"Content-Length: -1\r\n\r\n" + PNG], b"400"),
        ([HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + PNG], b"400"),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + PNG], b"400"),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(PNG) + PNG + b"\r\n"], b"408"),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"10000\r\n" + bytes(1 << 16) + b"\r\n"] * 40], b"413"),
        ([b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000], b"400"),
        ([b"\x16\x03\x01\x02\x00\x01" + bytes(300)], b"400"),
    ],
    ids=["long", "short", "huge", "negative", "two", "chunk", "endless", "more", "headers", "tls"],
)
def test_invalid_content_lengths_and_chunks_are_refused(server: Server, sent: list[bytes], status: bytes) -> None:
    answer, took = _answer(server, *sent)
    assert answer.split(b" ", 2)[1:2] in ([status], []), answer
    assert answer or status == b"413"
    assert took < 3 * TRANSFER


@pytest.mark.parametrize("begin", [b"", b"POST /restore HT", HEAD + b"Content-Length: 500\r\n\r\n"])
def test_slow_senders_are_disconnected(server: Server, begin: bytes) -> None:
    answer, took = _answer(server, begin, *[b"x"] * 100, pause=0.1)
    assert took < 100 * 0.1 + 1
    assert took > TRANSFER - 1
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


def test_clients_that_read_no_response_are_disconnected(server: Server) -> None:
    large = _image("png", (550, 550))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(4 * TRANSFER)
        connection.connect(("127.0.0.1", int(server.address.rpartition(":")[2])))
        with pytest.raises(ConnectionError):
            connection.sendall((HEAD + b"Content-Length: %d\r\n\r\n" % len(large) + large) * 30)


def test_a_full_queue_is_reported_before_the_body_is_sent(server: Server, client: httpx.Client) -> None:
    address = ("127.0.0.1", int(server.address.rpartition(":")[2]))
    time.sleep(0.5)  # the place of the previous request is free when its files are deleted
    waiting = [socket.create_connection(address, timeout=30) for _ in range(QUEUE + 1)]
    for connection in waiting:
        connection.sendall(HEAD + b"Content-Length: 500\r\n\r\n")
    time.sleep(0.5)
    with socket.create_connection(address, timeout=TRANSFER - 1.2) as connection:
        connection.sendall(HEAD + b"Content-Length: 500\r\n\r\n")
        answer = connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"\r\nretry-after: 5\r\n" in answer.lower()
    for connection in waiting:
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 408")
        connection.close()


def test_uploads_are_refused_when_the_storage_limit_is_reached(client: httpx.Client) -> None:
    answers = [_upload(client, _form(bytes([i]) + bytes(999_000))).status_code for i in range(2 * QUEUE)]
    assert set(answers) == {200, 503}
    assert QUEUE < answers.count(200) <= QUEUE + 3


def _used(server: Server) -> dict[str, int]:
    """Return the resident bytes, open files and threads of the server and its children."""
    found = {"memory": 0, "files": 0, "threads": 0}
    processes = [server.process]
    for process in processes:
        here = Path(f"/proc/{process}")
        for task in (here / "task").iterdir():
            processes += [int(child) for child in (task / "children").read_text().split()]
        found["memory"] += int((here / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        found["files"] += len(list((here / "fd").iterdir()))
        found["threads"] += len(list((here / "task").iterdir()))
    return found


def _settled(server: Server) -> dict[str, int]:
    time.sleep(11)  # idle threads end at the first request after 10 seconds
    httpx.post(f"{server.address}/restore", content=PNG, timeout=60)
    time.sleep(0.5)
    return _used(server)


def _load(server: Server, requests: int, clients: int, content: Callable[[int], bytes]) -> list[httpx.Response]:
    with httpx.Client(base_url=server.address, timeout=60) as shared, ThreadPoolExecutor(clients) as pool:
        return list(pool.map(lambda i: shared.post("/restore", content=content(i)), range(requests)))


def test_two_hundred_requests_of_sixteen_clients_leak_nothing(server: Server, record_property: Any) -> None:
    images = [_image("png", (96, 128), seed) for seed in range(4)]
    _load(server, 60, 16, lambda i: images[i % 4])
    before, began = _settled(server), time.monotonic()
    answers = _load(server, 200, 16, lambda i: images[i % 4])
    took, after = time.monotonic() - began, _settled(server)
    record_property("load", {"seconds": took, "before": before, "after": after})
    print(f"\n200 requests in {took:.1f} s; before {before}, after {after}")
    for answer in answers:
        assert answer.status_code == 200 or (answer.status_code in (429, 503) and "retry-after" in answer.headers)
    assert [len({a.content for a in answers[i::4] if a.status_code == 200}) for i in range(4)] == [1, 1, 1, 1]
    assert sum(answer.status_code == 200 for answer in answers) > 100
    assert after["memory"] == pytest.approx(before["memory"], rel=0.05)
    assert (after["files"], after["threads"]) == (before["files"], before["threads"])
