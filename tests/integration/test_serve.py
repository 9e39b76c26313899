"""The page of `deblurlab serve` in a real browser, and what it answers to programs."""

import io
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from playwright.sync_api import Page, expect

from support import small_release


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("photo") / "holiday.jpg"
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    Image.fromarray(skimage.data.astronaut()[:300, :400]).save(file, quality=90, exif=exif)
    return file


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with limits that are easily passed."""
    release = small_release(tmp_path_factory.mktemp("serve") / "small")
    command = [
        sys.executable, "-m", "deblurlab", "serve", "--weights", str(release), "--port", "0", "--device", "cpu",
        "--max-megabytes", "1", "--max-megapixels", "0.5",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.match(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    assert found is not None
    yield found[0]
    process.terminate()
    process.wait(30)


def _post(address: str, content: bytes, query: str = "") -> tuple[int, bytes]:
    request = urllib.request.Request(f"{address}/restore{query}", data=content, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_programs_get_the_picture_back_as_it_was_but_sharp(address: str, photograph: Path) -> None:
    status, content = _post(address, photograph.read_bytes())
    assert status == 200
    with Image.open(io.BytesIO(content)) as restored:
        assert (restored.format, restored.size, restored.getexif()[0x010F]) == ("JPEG", (400, 300), "a camera")
    status, untouched = _post(address, photograph.read_bytes(), "?strength=0")
    with Image.open(io.BytesIO(untouched)) as same, Image.open(photograph) as blurred:
        assert np.abs(np.asarray(same).astype(int) - np.asarray(blurred)).mean() < 2


@pytest.mark.parametrize(
    ("content", "query", "status", "message"),
    [
        (b"no picture", "", 422, "the picture isn't an image"),
        (b"", "", 422, "the picture is empty"),
        (b"x" * 1_100_000, "", 413, "more than 1 megabytes"),
        (b"PICTURE", "?model=/etc/passwd", 422, "there is no model"),
        (b"PICTURE", "?strength=2", 422, "less than or equal to 1"),
        (b"LARGE", "", 413, "more than 0.5 million"),
    ],
)
def test_what_cannot_be_restored_is_said_without_a_path(
    address: str, photograph: Path, content: bytes, query: str, status: int, message: str
) -> None:
    large = io.BytesIO()
    Image.new("RGB", (1000, 600)).save(large, "png")
    found, answer = _post(
        address, {b"PICTURE": photograph.read_bytes(), b"LARGE": large.getvalue()}.get(content, content), query
    )
    assert (found, message in answer.decode()) == (status, True), answer
    assert b"/tmp" not in answer


def test_a_photograph_is_dropped_compared_and_downloaded(address: str, photograph: Path, page: Page) -> None:
    elsewhere: list[str] = []
    page.on(
        "request",
        lambda request: None if request.url.startswith((address, "data:", "blob:")) else elsewhere.append(request.url),
    )
    page.set_viewport_size({"width": 1200, "height": 800})
    page.goto(address)
    page.locator("input[type=file]").first.set_input_files(photograph)
    page.get_by_role("button", name="Restore").click()
    pictures = page.locator("img[src*='_before'], img[src*='_after']")
    expect(pictures.first).to_be_visible(timeout=60_000)
    assert pictures.count() >= 2
    page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    with page.expect_download() as download:
        page.get_by_text("Download", exact=True).click()
    with Image.open(download.value.path()) as restored:
        assert (restored.format, restored.size) == ("JPEG", (400, 300))
    page.screenshot(path="/tmp/serve.png")
    assert elsewhere == []
