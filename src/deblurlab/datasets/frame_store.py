"""The frame store: every image of a data set decoded once, in one memory-mapped file. A random crop then costs its
bytes."""

import json
import logging
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deblurlab.errors import UserError
from deblurlab.media.images import read_image
from deblurlab.runs.files import atomic_write
from deblurlab.runs.untrusted import is_inside, is_safe_relative_path, parse_json

_LOG = logging.getLogger(__name__)
_FOLDER, _PIXELS, _INDEX, _JOURNAL, _FORMAT = "frames", "pixels.bin", "index.json", "journal.jsonl", 1

Image = npt.NDArray[np.uint8]
Reader = Callable[[Path], Image]
"""Reads the image, `(H, W, 3)` RGB, that a file holds."""


class Frame(NamedTuple):
    """One image in the store."""

    name: str
    """Path of the image's file, relative to the data set's root."""
    height: int
    width: int
    offset: int
    """Of its first byte."""
    checksum: int
    """CRC-32 of its pixels."""
    size: int
    """Of the image's file, in bytes."""
    modified: int
    """When the image's file was, in nanoseconds."""

    @property
    def bytes(self) -> int:
        return self.height * self.width * 3


class FrameStore:
    """Reads images from `root/frames` as views of the memory-mapped file: nothing is copied until somebody does.

    A frame's checksum is tested when the process first reads it.

    Raises:
        UserError: There is no store, it is damaged, or doesn't fit the image files any more.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = root / _FOLDER / _PIXELS
        self._frames = {frame.name: frame for frame in _read_index(root / _FOLDER / _INDEX)}
        if not is_inside(self._file, root / _FOLDER):
            raise UserError(f"{self._file} is a link out of the frame store")
        expected = _end(list(self._frames.values()))
        if not self._file.is_file() or self._file.stat().st_size != expected:
            found = self._file.stat().st_size if self._file.is_file() else "no"
            raise UserError(f"{self._file} has {found} bytes instead of {expected}")
        for frame in self._frames.values():
            file = root / frame.name
            try:
                state = file.stat() if file.is_file() else None
            except OSError:  # the file system has no such names
                state = None
            if state is None or (state.st_size, state.st_mtime_ns) != (frame.size, frame.modified):
                raise UserError(
                    f"{file} has changed since it was packed" if state else f"{file} was packed and is gone"
                )
        self._pixels: Image | None = None
        self._tested: set[str] = set()

    def __contains__(self, path: Path) -> bool:
        return self._name(path) in self._frames

    def __len__(self) -> int:
        return len(self._frames)

    def __call__(self, path: Path) -> Image:
        """The image of a file below the root; one that wasn't packed is read from its file.

        Raises:
            UserError: The frame is damaged.
        """
        frame = self._frames.get(self._name(path))
        if frame is None:
            return read_image(path)
        if self._pixels is None:
            self._pixels = np.memmap(self._file, np.uint8, "r")
        pixels = self._pixels[frame.offset : frame.offset + frame.bytes]
        if frame.name not in self._tested:
            if zlib.crc32(pixels.data) != frame.checksum:
                raise UserError(
                    f"{self._file} is damaged where it holds {frame.name}: pack it again, or read the files with "
                    f"data.store=off"
                )
            self._tested.add(frame.name)
        return pixels.reshape(frame.height, frame.width, 3)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}  # a worker maps the file itself

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self._root)


class Readers:
    """Reads an image as the data set does that it lies in, of several: `{root: reader}`."""

    def __init__(self, readers: Mapping[Path, Reader]) -> None:
        self._readers = {root.absolute(): reader for root, reader in readers.items()}

    def __call__(self, path: Path) -> Image:
        inside = [root for root in self._readers if path.absolute().is_relative_to(root)]
        return self._readers[max(inside, key=lambda root: len(root.parts))](path) if inside else read_image(path)


def open_reader(root: Path) -> Reader:
    """The frame store of a data set if it has one that fits; else what reads files, with a warning if it has one."""
    if not (root / _FOLDER / _INDEX).is_file():
        return read_image
    try:
        return FrameStore(root)
    except UserError as error:
        _LOG.warning(
            "The frame store in %s is left alone and the image files are read, which is slower: %s. "
            "`deblurlab data pack` makes it anew.",
            root / _FOLDER,
            error,
        )
        return read_image


def pack(root: Path, files: Sequence[Path]) -> Iterator[int]:
    """Decode image files below `root` into its frame store; yields the number of those that are done. Files elsewhere
    are left out: they are read as they are. What an interrupted attempt has decoded is kept; a store that is there is
    replaced when the new one is whole.

    Raises:
        UserError: An image can't be read, or the disk is full.
    """
    partial = root / f".{_FOLDER}.partial"
    for place in (root / _FOLDER, partial, partial / _PIXELS, partial / _JOURNAL, partial / _INDEX):
        if place.is_symlink():
            raise UserError(f"{place} is a link, and what it leads to would be overwritten: delete it")
    files = [path for path in files if is_safe_relative_path(os.path.relpath(path, root))]
    frames = _resume(partial, root, files)
    offset = _end(frames)
    rest = files[len(frames) :]
    yield len(frames)
    try:
        with (partial / _PIXELS).open("ab") as pixels, (partial / _JOURNAL).open("a") as journal:
            for path, image in _decoded(rest):
                state = path.stat()
                frame = Frame(
                    os.path.relpath(path, root),
                    image.shape[0],
                    image.shape[1],
                    offset,
                    zlib.crc32(image.data),
                    state.st_size,
                    state.st_mtime_ns,
                )
                pixels.write(image.data)
                pixels.flush()
                journal.write(json.dumps(frame) + "\n")
                journal.flush()
                frames.append(frame)
                offset += frame.bytes
                yield len(frames)
            os.fsync(pixels.fileno())
    except OSError as error:
        raise UserError(
            f"the frame store couldn't be written to {partial} ({error}): the same command goes on"
        ) from error
    _write_index(partial / _INDEX, frames)
    (partial / _JOURNAL).unlink()
    final = root / _FOLDER
    for old in final.iterdir() if final.is_dir() else ():
        old.unlink()
    if final.is_dir():
        final.rmdir()
    partial.rename(final)


def _resume(partial: Path, root: Path, files: Sequence[Path]) -> list[Frame]:
    """What an earlier attempt has decoded of the same files, in the same order, unchanged since."""
    partial.mkdir(parents=True, exist_ok=True)
    frames: list[Frame] = []
    journal, pixels = partial / _JOURNAL, partial / _PIXELS
    written = pixels.stat().st_size if pixels.exists() else 0
    lines = journal.read_text().splitlines() if journal.exists() else []
    for line, path in zip(lines, files, strict=False):
        try:
            frame = _frame(parse_json(line), _end(frames))
        except (ValueError, TypeError):  # the last line may be half written
            break
        state = path.stat()
        same = (frame.name, frame.size, frame.modified) == (
            os.path.relpath(path, root),
            state.st_size,
            state.st_mtime_ns,
        )
        if not same or frame.offset + frame.bytes > written:
            break
        frames.append(frame)
    pixels.touch()
    os.truncate(pixels, _end(frames))
    journal.write_text("".join(json.dumps(frame) + "\n" for frame in frames))
    return frames


def _decoded(files: Sequence[Path]) -> Iterator[tuple[Path, Image]]:
    """Images in order, decoded by several threads, a bounded number ahead."""
    threads = min(16, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(files), 4 * threads):
            some = files[start : start + 4 * threads]
            yield from zip(some, pool.map(read_image, some), strict=True)


def _write_index(path: Path, frames: Sequence[Frame]) -> None:
    content = json.dumps(frames)
    index = {"format": _FORMAT, "sha256": sha256(content.encode()).hexdigest(), "frames": content}
    with atomic_write(path) as file:
        json.dump(index, file)


def _read_index(path: Path) -> list[Frame]:
    try:
        index = parse_json(path.read_text())
        if type(index["format"]) is not int or index["format"] != _FORMAT:
            raise UserError(f"{path} is of format {index['format']!r:.50}, this version of deblurlab reads {_FORMAT}")
        if sha256(index["frames"].encode()).hexdigest() != index["sha256"]:
            raise UserError(f"{path} is damaged: its checksum is another")
        frames: list[Frame] = []
        for values in parse_json(index["frames"]):
            frames.append(_frame(values, _end(frames)))
        if len({frame.name for frame in frames}) < len(frames):
            raise ValueError("it names an image twice")
        return frames
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} isn't the index of a frame store: {error}") from error


def _end(frames: Sequence[Frame]) -> int:
    """Where their pixels end."""
    return frames[-1].offset + frames[-1].bytes if frames else 0


def _frame(values: Any, offset: int) -> Frame:
    """One that is as `pack` writes them and follows those whose pixels end at `offset`.

    Raises:
        ValueError, TypeError: It doesn't, or is none.
    """
    frame = Frame(*values)
    if not isinstance(frame.name, str) or not is_safe_relative_path(frame.name) or os.path.normpath(frame.name) != frame.name:
        raise ValueError(f"{frame.name!r:.100} names no file of the data set")
    if any(type(number) is not int for number in frame[1:]) or min(frame[1:]) < 0 or 0 in (frame.height, frame.width):
        raise ValueError(f"{frame.name:.100} is of no size")
    if frame.offset != offset:
        raise ValueError(f"{frame.name:.100} doesn't follow the frame before it")
    return frame
