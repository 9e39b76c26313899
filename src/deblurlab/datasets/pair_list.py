"""Text files that list pairs."""

import codecs
import csv
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from deblurlab.datasets.listing import Item, Pair, image_file, item_name
from deblurlab.errors import UserError


def read_pair_list(file: Path, root: Path, *, sharp_first: bool = False) -> list[Pair]:
    """Return the pairs that a text file lists: two paths per line, relative to `root`.

    Blanks, a tab, a comma or a semicolon separate the paths; quoting as in a shell or a CSV file is allowed, and
    backslashes may separate folders. The blurred image comes first unless `sharp_first`. Empty lines and lines that
    begin with # are ignored. The text is UTF-8, UTF-16 with a byte order mark, or Windows-1252.

    Raises:
        UserError: The file is missing or isn't text, a line doesn't hold two paths, an image doesn't exist, or a pair
            is listed twice.
    """
    if not file.is_file():
        raise UserError(f"there is no list of pairs {file}")
    pairs: list[Pair] = []
    numbers: dict[Path, int] = {}
    for number, line in enumerate(re.split(r"\r\n|\r|\n", _read_text(file)), start=1):
        if not line.strip() or line.strip().startswith("#"):
            continue
        words = _split_line(line.strip(), root, f"line {number} of {file}")
        blurred, sharp = reversed(words) if sharp_first else words
        if (first := numbers.setdefault(Path(os.path.normpath(root / blurred)), number)) != number:
            raise UserError(f"line {number} of {file} lists {blurred} again, after line {first}: remove one of them")
        pairs.append(Pair(item_name(blurred), root / blurred, root / sharp))
    if not pairs:
        raise UserError(f"{file} lists no pairs")
    return pairs


def check_listable(items: Iterable[Item], data_set: str) -> None:
    """Raise UserError if an item of a data set isn't a pair of files that a list can name."""
    for item in items:
        if not (files := _files_of(item)):
            raise UserError(f"--fix-list lists pairs of files, and data={data_set} has other items: leave it out")
        for file in files:
            if (shown := os.fsencode(file).decode(errors="backslashreplace")) != str(file):
                raise UserError(f"--fix-list can't list {shown}: its name isn't UTF-8; rename it")
            if len(shown.splitlines()) > 1:
                raise UserError(f"--fix-list can't list {shown!r}: its name has a line break; rename it")


def write_pair_list(file: Path, items: Sequence[Item]) -> None:
    """Write the absolute paths of pairs of files, blurred and sharp, as `read_pair_list` reads them."""
    lines = (" ".join(shlex.quote(str(path.absolute())) for path in _files_of(item)) for item in items)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _files_of(item: Item) -> list[Path]:
    """Return the files of a pair, blurred and sharp; none for other items."""
    files = [image_file(image) for image in (item.blurred, *item.references[:1])]
    found = [file for file in files if file is not None]
    return found if len(found) == 2 else []


def _read_text(file: Path) -> str:
    """Return the text of a file in one of the encodings that editors on Linux, macOS and Windows write.

    Raises:
        UserError: The file is in none of them.
    """
    content = file.read_bytes()
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if marked or b"\0" not in content:
        for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
            with suppress(UnicodeDecodeError):
                return content.decode(encoding)
    raise UserError(f"{file} isn't text in UTF-8, UTF-16 with a byte order mark or Windows-1252: save it as UTF-8")


def _split_line(line: str, root: Path, place: str) -> list[Path]:
    """Return the two existing files that a line names, relative to `root`.

    Raises:
        UserError: The line doesn't hold two paths, or one of them doesn't exist.
    """
    splits = [line.split("\t"), line.split()]
    with suppress(ValueError):  # an apostrophe in a name
        splits.append(shlex.split(line))
    splits += [next(csv.reader([line], delimiter=delimiter, skipinitialspace=True)) for delimiter in ",;"]
    pairs = [[word.strip() for word in words] for words in splits if len(words) == 2]
    pairs += [[word.replace("\\", "/") for word in words] for words in pairs]
    for words in pairs:
        if all(_exists(root / word) for word in words):
            return [Path(word) for word in words]
    if not pairs:
        raise UserError(f"{place} holds {len(line.split())} paths instead of two: {line}")
    missing = next(word for word in pairs[0] if not _exists(root / word))
    raise UserError(f"{place}: there is no image {root / missing}")


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that the file system can't have
        return False
