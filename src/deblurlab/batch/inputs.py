"""Input files of `deblurlab restore`, and the files that they are restored to."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from deblurlab.media.images import SUFFIXES
from deblurlab.media.video import SUFFIXES as VIDEO_SUFFIXES
from deblurlab.runs.untrusted import is_inside


class FileTask(NamedTuple):
    """A file to restore, and the file to write."""

    source: Path
    target: Path


def find_tasks(inputs: Sequence[str], output: Path) -> tuple[list[FileTask], list[str]]:
    """Find the images and videos that `inputs` name: files, folders (searched recursively) and glob patterns.

    Files keep their names, files in folders also their subfolders. Files in the output folder, hidden files, and links
    that lead out of an input folder are not restored.

    Returns:
        The tasks in the order of the inputs, and an error message for each input that can't be restored.
    """
    sources: dict[Path, Path] = {}
    errors: list[str] = []
    for given in inputs:
        path = Path(given)
        found = _find_files(given, output)
        if not found and path.is_dir() and path.absolute().is_relative_to(output.absolute()):
            errors.append(f"{given} is inside the output folder: choose another one with -o")
        elif not found:
            errors.append(f"{given}: there are no images or videos ({', '.join(sorted(SUFFIXES | VIDEO_SUFFIXES))})")
        for file, name in found:
            target = output if is_file_name(output) else output / name
            if path.is_dir() and not is_inside(file, path):
                errors.append(f"{file} links to a file outside of {path}: to restore it, name it as an input")
            elif (target.suffix.lower() in VIDEO_SUFFIXES) != (file.suffix.lower() in VIDEO_SUFFIXES):
                errors.append(f"{file} can't be restored to {target}: one is an image, the other a video")
            elif sources.setdefault(target, file) != file:
                errors.append(f"{file} and {sources[target]} would both be restored to {target}: use one -o each")
    return [FileTask(source, target) for target, source in sources.items()], errors


def is_file_name(output: Path) -> bool:
    """Return whether the output is a file, not a folder: it has the suffix of an image or a video."""
    return output.suffix.lower() in SUFFIXES | VIDEO_SUFFIXES and not output.is_dir()


def _find_files(given: str, output: Path) -> list[tuple[Path, Path]]:
    """Return files, each with its path relative to the output folder."""
    path = Path(given)
    if path.is_dir():
        return [(file, file.relative_to(path)) for file in sorted(path.rglob("*")) if _is_input(file, output)]
    if path.exists() or not glob.has_magic(given):
        return [(path, Path(path.name))]
    files = map(Path, sorted(glob.glob(given, recursive=True)))  # noqa: PTH207 - Path.glob takes no absolute pattern
    return [(file, Path(file.name)) for file in files if _is_input(file, output)]


def _is_input(file: Path, output: Path) -> bool:
    return (
        file.suffix.lower() in SUFFIXES | VIDEO_SUFFIXES
        and not file.name.startswith(".")
        and file.is_file()
        and not file.absolute().is_relative_to(output.absolute())
    )
