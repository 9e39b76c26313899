"""Input files of `deblurlab restore`, and the files that they are restored to."""

import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from deblurlab.errors import UserError
from deblurlab.media.heif import HEIC_SUFFIXES, REMEDY, can_read_heic
from deblurlab.media.images import is_hidden, natural_key
from deblurlab.media.large_images import RESTORABLE_SUFFIXES
from deblurlab.media.signatures import file_kind
from deblurlab.media.video import SUFFIXES as VIDEO_SUFFIXES
from deblurlab.media.video import content_error
from deblurlab.runs.untrusted import is_inside

_INPUT_SUFFIXES = RESTORABLE_SUFFIXES | VIDEO_SUFFIXES
_OTHER_SUFFIXES = {
    ".avi", ".cr2", ".cr3", ".dng", ".exr", ".gif", ".hdr", ".jp2", ".jxl", ".mpeg", ".mpg",
    ".nef", ".arw", ".pdf", ".pgm", ".ppm", ".psd", ".svg", ".tga", ".wmv",
}  # fmt: skip
"""Suffixes of other images and videos, which can't be written."""


class FileTask(NamedTuple):
    """A file to restore, and the file to write."""

    source: Path
    target: Path


class Inputs(NamedTuple):
    """What the inputs of a command name."""

    tasks: list[FileTask]
    """Files to restore, in the order of the inputs."""
    errors: list[str]
    """A message for each input, link, file or folder that can't be restored."""
    unsupported: Counter[str]
    """Number of images and videos in folders and patterns whose kind can't be restored, by suffix."""


def find_inputs(inputs: Sequence[str], output: Path) -> Inputs:
    """Find the images and videos that `inputs` name: files, folders (searched recursively) and glob patterns.

    Files keep their names, files in folders also their subfolders. What a folder or a pattern names isn't restored if
    it is in the output folder or hidden, nor are links that lead out of an input folder.

    Raises:
        UserError: The output is one file, and the inputs aren't.
    """
    sources: dict[Path, Path] = {}
    found = Inputs([], [], Counter())
    for given in inputs:
        path = Path(given)
        if path.is_dir() and _is_result(path, output):
            found.errors.append(f"{given} is inside the output folder: choose another one with -o")
            continue
        files = _find_files(given, output, found)
        if is_file_name(output) and (len(inputs) > 1 or path.is_dir() or len(files) > 1):
            raise UserError(f"-o {output} is one file, but the inputs may be several: choose a folder with -o")
        if not files:
            found.errors.append(f"{given}: there are no images or videos ({', '.join(sorted(_INPUT_SUFFIXES))})")
        for file, name in files:
            target = output if is_file_name(output) else output / name
            if path.is_dir() and not is_inside(file, path):
                found.errors.append(f"{file} links to a file outside of {path}: to restore it, name it as an input")
            elif (target.suffix.lower() in VIDEO_SUFFIXES) != (file.suffix.lower() in VIDEO_SUFFIXES):
                message = f"{file} can't be restored to {target}: one is an image, the other a video"
                found.errors.append(content_error(file) or message)
            elif sources.setdefault(target, file) != file:
                found.errors.append(f"{file} and {sources[target]} would both be restored to {target}: use one -o each")
    found.tasks.extend(FileTask(source, target) for target, source in sources.items())
    return found


def describe_unsupported(unsupported: Counter[str]) -> str:
    """Return number and suffixes of the files whose kind can't be restored, with the remedy if there is one."""
    text = f"{unsupported.total()} of unsupported kinds ({', '.join(sorted(unsupported))})"
    return f"{text}; {REMEDY}" if HEIC_SUFFIXES & set(unsupported) and not can_read_heic() else text


def check_output(output: Path) -> None:
    """Check that the output can be written, before anything is computed.

    Raises:
        UserError: It has the suffix of a kind of file that can't be written, or its folder can't be created or written.
    """
    if output.suffix.lower() in _OTHER_SUFFIXES and not output.is_dir():
        raise UserError(
            f"-o {output}: files of type {output.suffix} can't be written; choose one of "
            f"{', '.join(sorted(_INPUT_SUFFIXES))}, or the name of a folder"
        )
    folder = output.parent if is_file_name(output) else output
    existing = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    try:
        TemporaryFile(dir=existing).close()
    except OSError as error:
        cause = error.strerror if existing.exists() else "it is a link to nothing"
        raise UserError(f"-o {output}: no file can be created in {existing} ({cause}): choose another one") from error


def is_file_name(output: Path) -> bool:
    """Return whether the output is a file, not a folder: it has the suffix of an image or a video."""
    return output.suffix.lower() in _INPUT_SUFFIXES and not output.is_dir()


def _find_files(given: str, output: Path, found: Inputs) -> list[tuple[Path, Path]]:
    """Return the files of an input in natural order, each with its path relative to the output folder."""
    path = Path(given)
    if path.is_dir():
        names = sorted((file.relative_to(path) for file in _search(path, output, found)), key=natural_key)
        return [(path / name, name) for name in names if _is_input(path / name, name, output, found)]
    if path.exists() or not glob.has_magic(given):
        return [(path, Path(path.name))]
    fixed = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
    files = list(map(Path, sorted(glob.glob(given, recursive=True), key=natural_key)))  # noqa: PTH207 - Path.glob takes no absolute pattern
    return [(file, Path(file.name)) for file in files if _is_input(file, file.relative_to(fixed), output, found)]


def _search(folder: Path, output: Path, found: Inputs) -> Iterator[Path]:
    """Yield the files of a folder; note subfolders that are left out."""

    def note(error: OSError) -> None:
        found.errors.append(f"{error.filename} can't be read ({error.strerror}): its files are not restored")

    for name, folders, files in os.walk(folder, onerror=note):
        place = Path(name)
        for child in list(folders):
            left_out = is_hidden(Path(child)) or _is_result(place / child, output)
            if not left_out and (place / child).is_symlink():
                found.errors.append(f"{place / child} links to a folder, which isn't searched: name it as an input")
            if left_out or (place / child).is_symlink():
                folders.remove(child)
        yield from (place / child for child in files)


def _is_input(file: Path, name: Path, output: Path, found: Inputs) -> bool:
    """Return whether a file of a folder or pattern is restored; count it if its kind can't be, note it if unreadable.

    Args:
        file: The file.
        name: Its path relative to the folder or to the part of the pattern without wildcards.
        output: Output folder.
        found: Receives the count and the note.
    """
    if is_hidden(name) or _is_result(file, output):
        return False
    suffix = file.suffix.lower()
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return False
        if suffix in _INPUT_SUFFIXES and (suffix not in HEIC_SUFFIXES or can_read_heic()):
            return True
        if file_kind(file):
            found.unsupported[suffix or "no suffix"] += 1
    except OSError as error:
        found.errors.append(f"{file} can't be read ({error.strerror})")
    return False


def _is_result(path: Path, output: Path) -> bool:
    """Return whether a path leads to the output folder or into it."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(output))  # Path.resolve raises for some links
