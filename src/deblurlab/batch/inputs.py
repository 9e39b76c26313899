"""Input files of `deblurlab restore`, and the files that they are restored to."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from deblurlab.errors import UserError
from deblurlab.media.heif import HEIC_SUFFIXES, REMEDY, can_read_heic
from deblurlab.media.images import natural_key
from deblurlab.media.large_images import RESTORABLE_SUFFIXES
from deblurlab.media.signatures import is_image_or_video
from deblurlab.media.video import SUFFIXES as VIDEO_SUFFIXES
from deblurlab.media.video import container_error
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
    """A message for each input, link or folder that can't be restored."""
    unsupported: Counter[str]
    """Number of images and videos in folders whose kind can't be restored, by suffix."""


def find_inputs(inputs: Sequence[str], output: Path) -> Inputs:
    """Find the images and videos that `inputs` name: files, folders (searched recursively) and glob patterns.

    Files keep their names, files in folders also their subfolders. Files in the output folder, hidden files and
    folders, and links that lead out of an input folder are not restored.
    """
    sources: dict[Path, Path] = {}
    errors: list[str] = []
    unsupported: Counter[str] = Counter()
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            found = [(file, file.relative_to(path)) for file in _search(path, output, unsupported, errors)]
        else:
            found = _find_files(given, output)
        if not found and path.is_dir() and path.absolute().is_relative_to(output.absolute()):
            errors.append(f"{given} is inside the output folder: choose another one with -o")
        elif not found:
            errors.append(f"{given}: there are no images or videos ({', '.join(sorted(_INPUT_SUFFIXES))})")
        for file, name in found:
            target = output if is_file_name(output) else output / name
            if path.is_dir() and not is_inside(file, path):
                errors.append(f"{file} links to a file outside of {path}: to restore it, name it as an input")
            elif (target.suffix.lower() in VIDEO_SUFFIXES) != (file.suffix.lower() in VIDEO_SUFFIXES):
                message = f"{file} can't be restored to {target}: one is an image, the other a video"
                errors.append(container_error(file) or message)
            elif sources.setdefault(target, file) != file:
                errors.append(f"{file} and {sources[target]} would both be restored to {target}: use one -o each")
    return Inputs([FileTask(source, target) for target, source in sources.items()], errors, unsupported)


def describe_unsupported(unsupported: Counter[str]) -> str:
    """Return number and suffixes of the files whose kind can't be restored, with the remedy if there is one."""
    text = f"{unsupported.total()} of unsupported kinds ({', '.join(sorted(unsupported))})"
    return f"{text}; {REMEDY}" if HEIC_SUFFIXES & set(unsupported) and not can_read_heic() else text


def check_output(output: Path) -> None:
    """Raise UserError if an output that doesn't exist has the suffix of a kind of file that can't be written."""
    if output.suffix.lower() in _OTHER_SUFFIXES and not output.exists():
        raise UserError(
            f"-o {output}: files of type {output.suffix} can't be written; choose one of "
            f"{', '.join(sorted(_INPUT_SUFFIXES))}, or the name of a folder"
        )


def is_file_name(output: Path) -> bool:
    """Return whether the output is a file, not a folder: it has the suffix of an image or a video."""
    return output.suffix.lower() in _INPUT_SUFFIXES and not output.is_dir()


def _search(folder: Path, output: Path, unsupported: Counter[str], errors: list[str]) -> list[Path]:
    """Return the files of a folder in natural order; count those of other kinds, and note folders that are left out."""

    def note(error: OSError) -> None:
        errors.append(f"{error.filename} can't be read ({error.strerror}): its files are not restored")

    found = []
    for name, folders, files in os.walk(folder, onerror=note):
        place = Path(name)
        for child in list(folders):
            hidden = child.startswith(".") or (place / child).absolute() == output.absolute()
            if not hidden and (place / child).is_symlink():
                errors.append(f"{place / child} links to a folder, which isn't searched: name it as an input")
            if hidden or (place / child).is_symlink():
                folders.remove(child)
        for child in files:
            file = place / child
            if _is_input(file, output):
                found.append(file)
            elif not child.startswith(".") and file.is_file() and is_image_or_video(file):
                unsupported[file.suffix.lower() or "no suffix"] += 1
    return sorted(found, key=lambda file: natural_key(file.relative_to(folder)))


def _find_files(given: str, output: Path) -> list[tuple[Path, Path]]:
    """Return files, each with its path relative to the output folder."""
    path = Path(given)
    if path.exists() or not glob.has_magic(given):
        return [(path, Path(path.name))]
    files = map(Path, sorted(glob.glob(given, recursive=True), key=natural_key))  # noqa: PTH207 - Path.glob takes no absolute pattern
    return [(file, Path(file.name)) for file in files if _is_input(file, output)]


def _is_input(file: Path, output: Path) -> bool:
    suffix = file.suffix.lower()
    return (
        suffix in _INPUT_SUFFIXES
        and (suffix not in HEIC_SUFFIXES or can_read_heic())
        and not file.name.startswith(".")
        and file.is_file()
        and not file.absolute().is_relative_to(output.absolute())
    )
