"""Writing of frame stores, resumable after an interruption."""

import json
import os
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from deblurlab.datasets.frame_store import FOLDER, FORMAT, INDEX, PIXELS, Frame, Image, end_offset, parse_frame
from deblurlab.errors import UserError
from deblurlab.media.images import read_image
from deblurlab.runs.cpus import available_cpus
from deblurlab.runs.files import atomic_write
from deblurlab.runs.untrusted import is_safe_relative_path, parse_json

_JOURNAL = "journal.jsonl"
"""Frames whose pixels are written, one per line; exists only while the store is written."""


def write_frame_store(
    root: Path, files: Sequence[Path], *, folder: Path | None = None, read: Callable[[Path], Image] | None = None
) -> Generator[int, None, None]:
    """Decode the image files below `root` into its frame store; yield the number of frames written so far.

    Files outside of `root` are left out; they are read directly. An interrupted call is resumed by the next one. An
    existing store is replaced once the new one is complete.

    Args:
        root: Folder of the image files.
        files: The image files.
        folder: Folder of the store; None for `root/frames`.
        read: Returns the image of a file; None for `read_image`.

    Raises:
        UserError: An image can't be read, or the store can't be written.
    """
    folder = folder or root / FOLDER
    partial = folder.with_name(f".{folder.name}.partial")
    for place in (folder, partial, partial / PIXELS, partial / _JOURNAL, partial / INDEX):
        if place.is_symlink():
            raise UserError(f"{place} is a link, and its target would be overwritten: delete it")
    files = [path for path in files if is_safe_relative_path(os.path.relpath(path, root))]
    frames = _resume(partial, root, files)
    yield len(frames)
    try:
        with (partial / PIXELS).open("ab") as pixels, (partial / _JOURNAL).open("a") as journal:
            for path, image in _decode(files[len(frames) :], read or read_image):
                frame = _describe(path, root, image, end_offset(frames))
                pixels.write(image.data)
                pixels.flush()
                journal.write(json.dumps(frame) + "\n")
                journal.flush()
                frames.append(frame)
                yield len(frames)
            os.fsync(pixels.fileno())
    except OSError as error:
        raise UserError(
            f"the frame store couldn't be written to {partial} ({error}): run the same command again to resume"
        ) from error
    _write_index(partial / INDEX, frames)
    (partial / _JOURNAL).unlink()
    _replace(folder, partial)


def _describe(path: Path, root: Path, image: Image, offset: int) -> Frame:
    state = path.stat()
    height, width = image.shape[:2]
    name = os.path.relpath(path, root)
    return Frame(name, height, width, offset, zlib.crc32(image.data), state.st_size, state.st_mtime_ns)


def _resume(partial: Path, root: Path, files: Sequence[Path]) -> list[Frame]:
    """Return the frames of an interrupted call that are still valid, and truncate its files after them.

    Valid are those of the same files in the same order, unchanged since.
    """
    partial.mkdir(parents=True, exist_ok=True)
    frames: list[Frame] = []
    journal, pixels = partial / _JOURNAL, partial / PIXELS
    written = pixels.stat().st_size if pixels.exists() else 0
    lines = journal.read_text().splitlines() if journal.exists() else []
    for line, path in zip(lines, files, strict=False):
        try:
            frame = parse_frame(parse_json(line), end_offset(frames))
        except (ValueError, TypeError):  # the last line may be incomplete
            break
        state = path.stat()
        expected = os.path.relpath(path, root), state.st_size, state.st_mtime_ns
        if (frame.name, frame.size, frame.modified) != expected or frame.offset + frame.bytes > written:
            break
        frames.append(frame)
    pixels.touch()
    os.truncate(pixels, end_offset(frames))
    journal.write_text("".join(json.dumps(frame) + "\n" for frame in frames))
    return frames


def _decode(files: Sequence[Path], read: Callable[[Path], Image]) -> Iterator[tuple[Path, Image]]:
    """Yield the images in order, decoded by several threads, a bounded number in advance."""
    threads = min(16, available_cpus())
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(files), 4 * threads):
            chunk = files[start : start + 4 * threads]
            yield from zip(chunk, pool.map(read, chunk), strict=True)


def _write_index(path: Path, frames: Sequence[Frame]) -> None:
    content = json.dumps(frames)
    index = {"format": FORMAT, "sha256": sha256(content.encode()).hexdigest(), "frames": content}
    with atomic_write(path) as file:
        json.dump(index, file)


def _replace(folder: Path, new: Path) -> None:
    """Replace a folder of files by another one."""
    for file in folder.iterdir() if folder.is_dir() else ():
        file.unlink()
    if folder.is_dir():
        folder.rmdir()
    new.rename(folder)
