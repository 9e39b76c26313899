"""Frame store: all images of a data set, decoded, in one memory-mapped file.

A random crop reads only its own bytes. `frame_store_writer` writes the store. Layout below the data set's root:

    frames/pixels.bin   the pixels of all images, uint8 RGB, one after the other
    frames/index.json   format, SHA-256 of the list of frames, and that list
"""

import logging
import os
import zlib
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deblurlab.errors import UserError
from deblurlab.media.images import read_image
from deblurlab.runs.untrusted import is_inside, is_safe_relative_path, parse_json

_LOG = logging.getLogger(__name__)
FOLDER, PIXELS, INDEX, FORMAT = "frames", "pixels.bin", "index.json", 1

Image = npt.NDArray[np.uint8]
"""`(H, W, 3)` uint8 RGB."""
Reader = Callable[[Any], Image]
"""Returns the image that a reference stands for, such as the path of its file."""


class Frame(NamedTuple):
    """Entry of one image in the index."""

    name: str
    """Path of the image file relative to the data set's root."""
    height: int
    width: int
    offset: int
    """Position of the first byte in the file of pixels."""
    checksum: int
    """CRC-32 of the pixels."""
    size: int
    """Size of the image file in bytes."""
    modified: int
    """Modification time of the image file in nanoseconds."""

    @property
    def bytes(self) -> int:
        """Number of bytes of the pixels."""
        return self.height * self.width * 3


class FrameStore:
    """Reader of a frame store. Images are views of the memory-mapped file.

    A frame's checksum is verified when the process first reads it.

    Args:
        root: Folder of the image files.
        folder: Folder of the store; None for `root/frames`.

    Raises:
        UserError: There is no store, it is damaged, or an image file has changed since it was packed.
    """

    def __init__(self, root: Path, folder: Path | None = None) -> None:
        self._root = root
        folder = folder or root / FOLDER
        self._file = folder / PIXELS
        self._frames = {frame.name: frame for frame in _read_index(folder / INDEX)}
        if not is_inside(self._file, folder):
            raise UserError(f"{self._file} is a link out of the frame store: delete it and pack the data set again")
        expected = end_offset(list(self._frames.values()))
        if not self._file.is_file() or self._file.stat().st_size != expected:
            found = self._file.stat().st_size if self._file.is_file() else "no"
            raise UserError(f"{self._file} has {found} bytes instead of {expected}: pack the data set again")
        for frame in self._frames.values():
            file = root / frame.name
            try:
                state = file.stat() if file.is_file() else None
            except OSError:  # a name that the file system can't have
                state = None
            if state is None:
                raise UserError(f"{file} was packed and no longer exists: pack the data set again")
            if (state.st_size, state.st_mtime_ns) != (frame.size, frame.modified):
                raise UserError(f"{file} has changed since it was packed: pack the data set again")
        self._pixels: Image | None = None
        self._verified: set[str] = set()

    def __contains__(self, path: Path) -> bool:
        return self._name(path) in self._frames

    def __len__(self) -> int:
        return len(self._frames)

    def __call__(self, path: Path) -> Image:
        """Return the image of a file below the root, from the file itself if it isn't in the store.

        Raises:
            UserError: The frame is damaged.
        """
        frame = self._frames.get(self._name(path))
        if frame is None:
            return read_image(path)
        if self._pixels is None:
            self._pixels = np.memmap(self._file, np.uint8, "r")
        pixels = self._pixels[frame.offset : frame.offset + frame.bytes]
        if frame.name not in self._verified:
            if zlib.crc32(pixels.data) != frame.checksum:
                raise UserError(
                    f"{self._file} is damaged at the frame {frame.name}: pack the data set again, or set data.store=off"
                )
            self._verified.add(frame.name)
        return pixels.reshape(frame.height, frame.width, 3)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}  # each worker maps the file itself

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self._root)


def open_reader(root: Path) -> Reader:
    """Return the frame store of a data set if there is a valid one, otherwise `read_image`.

    A store that isn't valid is ignored with a warning.
    """
    if not (root / FOLDER / INDEX).is_file():
        return read_image
    try:
        return FrameStore(root)
    except UserError as error:
        _LOG.warning(
            "The frame store in %s isn't used and image files are read instead, which is slower: %s. "
            "`deblurlab data pack` writes it again.",
            root / FOLDER,
            error,
        )
        return read_image


def end_offset(frames: Sequence[Frame]) -> int:
    """Return the offset after the last frame's pixels."""
    return frames[-1].offset + frames[-1].bytes if frames else 0


def parse_frame(values: Any, offset: int) -> Frame:
    """Return the frame that a list of values describes, whose pixels must begin at `offset`.

    Raises:
        ValueError: The values aren't a valid frame.
        TypeError: The values aren't a list of the right length.
    """
    frame = Frame(*values)
    name_is_valid = isinstance(frame.name, str) and is_safe_relative_path(frame.name)
    if not name_is_valid or os.path.normpath(frame.name) != frame.name:
        raise ValueError(f"{frame.name!r:.100} names no file of the data set")
    if any(type(number) is not int for number in frame[1:]) or min(frame[1:]) < 0 or 0 in (frame.height, frame.width):
        raise ValueError(f"{frame.name:.100} has an invalid size")
    if frame.offset != offset:
        raise ValueError(f"{frame.name:.100} doesn't follow the frame before it")
    return frame


def _read_index(path: Path) -> list[Frame]:
    try:
        index = parse_json(path.read_text())
        if type(index["format"]) is not int or index["format"] != FORMAT:
            raise UserError(
                f"{path} has format {index['format']!r:.50}, but this version of deblurlab reads {FORMAT}: pack the "
                f"data set again"
            )
        if sha256(index["frames"].encode()).hexdigest() != index["sha256"]:
            raise UserError(f"{path} is damaged, its checksum doesn't match: pack the data set again")
        frames: list[Frame] = []
        for values in parse_json(index["frames"]):
            frames.append(parse_frame(values, end_offset(frames)))
        if len({frame.name for frame in frames}) < len(frames):
            raise ValueError("it names an image twice")
        return frames
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} isn't the index of a frame store: {error}") from error
