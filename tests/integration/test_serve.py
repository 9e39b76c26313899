"""The web page of `deblurlab serve` in a real browser, and its HTTP API."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import skimage.data
from PIL import Image
from playwright.sync_api import Page, Request, expect

import image_sources as sources
from support import served


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("photo") / "holiday.jpg"
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    Image.fromarray(skimage.data.astronaut()[:300, :400]).save(file, quality=90, exif=exif)
    return file


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server with low limits."""
    with served(tmp_path_factory.mktemp("serve"), "--max-megabytes", "1", "--max-megapixels", "0.5") as server:
        yield server.address


def _post(address: str, content: bytes, query: str = "") -> tuple[int, bytes]:
    # Unlike urllib, httpx reads a response that arrives before the request is sent completely.
    answer = httpx.post(f"{address}/restore{query}", content=content, timeout=60)
    return answer.status_code, answer.content


def test_the_api_returns_an_image_of_the_same_format_and_size(address: str, photograph: Path) -> None:
    status, content = _post(address, photograph.read_bytes())
    assert status == 200
    with Image.open(io.BytesIO(content)) as restored:
        assert (restored.format, restored.size, restored.getexif()[0x010F]) == ("JPEG", (400, 300), "a camera")
    status, untouched = _post(address, photograph.read_bytes(), "?strength=0")
    with Image.open(io.BytesIO(untouched)) as same, Image.open(photograph) as blurred:
        assert np.abs(np.asarray(same).astype(int) - np.asarray(blurred)).mean() < 2


def test_the_api_takes_forms(address: str, photograph: Path) -> None:
    content = photograph.read_bytes()
    answer = httpx.post(f"{address}/restore", files={"file": ("holiday.jpg", content, "image/jpeg")}, timeout=60)
    answer_of_body = _post(address, content)[1]
    assert (answer.status_code, answer.content) == (200, answer_of_body)
    for form, message in (
        ({"files": {"a": content, "b": content}}, "the form must hold one file"),
        ({"files": {"a": content}, "data": {"strength": "0"}}, "'strength' is not a file: give model and strength in"),
        ({"files": {"a": b"not an image"}}, "the file isn't an image"),
    ):
        answer = httpx.post(f"{address}/restore", timeout=60, **form)
        assert (answer.status_code, message in answer.text) == (422, True), answer.text
    body = b'--edge\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n%s\r\n--edge--\r\n' % content
    kind = {"Content-Type": "Multipart/Form-Data; boundary=edge"}  # media types ignore case
    assert httpx.post(f"{address}/restore", content=body, headers=kind, timeout=60).content == answer_of_body
    large = httpx.post(f"{address}/restore", files={"a": b"x" * 1_030_000}, timeout=60)
    assert (large.status_code, "more than 1 megabytes" in large.text) == (413, True)


def test_the_api_names_what_an_image_has_lost(address: str, tmp_path: Path) -> None:
    sources.second_image(tmp_path / "x.jpg")
    content = (tmp_path / "x.jpg").read_bytes()
    assert (
        httpx.post(f"{address}/restore", content=content, timeout=60).headers["X-Not-Kept"] == "the second image (MPO)"
    )
    sources.save(tmp_path / "x.avif")
    status, answer = _post(address, (tmp_path / "x.avif").read_bytes())
    assert (status, b"the file is HEIC or AVIF, which the server doesn't accept" in answer) == (422, True)


@pytest.mark.parametrize(
    ("content", "query", "status", "message"),
    [
        (b"not an image", "", 422, "the file isn't an image"),
        (b"", "", 422, "the file is empty"),
        (b"x" * 1_100_000, "", 413, "more than 1 megabytes"),
        (b"PHOTOGRAPH", "?model=/etc/passwd", 422, "there is no model"),
        (b"PHOTOGRAPH", "?strength=2", 422, "less than or equal to 1"),
        (b"LARGE", "", 413, "more than 0.5 million pixels"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "", 422, "the file isn't an image"),
    ],
)
def test_errors_of_the_api_contain_no_path(
    address: str, photograph: Path, content: bytes, query: str, status: int, message: str
) -> None:
    large = io.BytesIO()
    Image.new("RGB", (1000, 600)).save(large, "png")
    found, answer = _post(
        address, {b"PHOTOGRAPH": photograph.read_bytes(), b"LARGE": large.getvalue()}.get(content, content), query
    )
    assert (found, message in answer.decode()) == (status, True), answer
    assert b"/tmp" not in answer


def test_a_photograph_is_uploaded_compared_and_downloaded(address: str, photograph: Path, page: Page) -> None:
    external: list[str] = []

    def seen(request: Request) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            external.append(request.url)

    page.on("request", seen)
    page.set_viewport_size({"width": 1200, "height": 800})
    page.goto(address)
    page.locator("input[type=file]").first.set_input_files(photograph)
    page.get_by_role("button", name="Restore").click()
    images = page.locator("img[src*='_before'], img[src*='_after']")
    expect(images.first).to_be_visible(timeout=60_000)
    assert images.count() >= 2
    page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    compare = page.locator("#compare")
    box, before = images.first.bounding_box(), compare.screenshot()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    page.mouse.move(5, 5)
    moved = compare.screenshot()
    first, second = (np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int) for shot in (before, moved))
    changed = (np.abs(first - second).max(axis=2) > 8).mean(axis=0)  # of each column
    middle = int(0.7 * len(changed))
    assert changed[middle - 5 : middle + 5].mean() > 0.5  # the restored image was replaced by the blurred one
    with page.expect_download() as download:
        page.get_by_text("Download", exact=True).click()
    with Image.open(download.value.path()) as restored:
        assert (restored.format, restored.size) == ("JPEG", (400, 300))
    assert external == []


def _large(folder: Path) -> Path:
    Image.new("RGB", (1000, 600)).save(folder / "large.png")
    return folder / "large.png"


def _heavy(folder: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (650, 700, 3), np.uint8)
    Image.fromarray(noise).save(folder / "heavy.png")
    return folder / "heavy.png"


def _broken(folder: Path) -> Path:
    Image.new("RGB", (300, 300), "red").save(folder / "broken.png")
    (folder / "broken.png").write_bytes((folder / "broken.png").read_bytes()[:300])
    return folder / "broken.png"


@pytest.mark.parametrize(
    ("make", "message"),
    [(_large, "more than 0.5 million"), (_heavy, "maximum allowed size"), (_broken, "damaged or truncated")],
)
def test_the_page_reports_large_and_damaged_files(
    address: str, tmp_path: Path, page: Page, make: Callable[[Path], Path], message: str
) -> None:
    page.goto(address)
    page.locator("input[type=file]").first.set_input_files(make(tmp_path))
    if make is not _heavy:  # the upload itself is refused
        page.get_by_role("button", name="Restore").click()
    expect(page.get_by_text(message).first).to_be_visible(timeout=30_000)
    assert "/tmp" not in page.inner_text("body")
