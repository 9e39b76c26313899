"""Files that are something else than weights: what they are, and the remedy."""

import codecs
import re
from pathlib import Path

from deblurlab.errors import list_first

AGAIN = "download it again, or use an earlier checkpoint"
"""Remedy for a damaged file, which may be a download or a checkpoint of the user's own run."""
_TENSORFLOW_FILE = re.compile(r".+\.(index|meta|data-\d{5}-of-\d{5})")
_TENSORFLOW = (
    "a TensorFlow checkpoint: write its variables to an .npz file with numpy.savez and "
    "tensorflow.train.load_checkpoint, as in docs/training.md"
)
_WEIGHTS_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".npz", ".pkl", ".h5", ".bin")
_PREFIXES = {
    b"version https://git-lfs": "it is a Git LFS pointer, not the file that it stands for: run git lfs pull in its "
    "repository, or download the file itself",
    b"<?xml": "it is an XML document, most likely a server's error message: download the file again",
    b"\x1f\x8b": "it is a gzip archive: unpack it, and give the file in it",
    b"7z\xbc\xaf\x27\x1c": "it is a 7z archive: unpack it, and give the file in it",
    b"Rar!": "it is a RAR archive: unpack it, and give the file in it",
    b"\x89HDF": "it is an HDF5 file of Keras or MATLAB: convert it to a state dict of torch first",
    b"\x93NUMPY": "it is a single array: write all of them to an .npz file with numpy.savez",
}


class OtherFileError(ValueError):
    """File that isn't weights, or whose weights can't be used. The message says what it is, and the remedy."""


def describe_other_file(path: Path, head: bytes) -> str | None:
    """Return what a file is and the remedy, for a message; None if it may hold weights.

    Args:
        path: The file.
        head: Its first bytes, about 500.
    """
    if not head:
        return f"it is empty: {AGAIN}"
    if _TENSORFLOW_FILE.fullmatch(path.name):
        return f"it is a part of {_TENSORFLOW}"
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    for prefix, description in _PREFIXES.items():
        if text.startswith(prefix):
            return description
    if text[:5].lower() == b"<html" or text[:14].lower() == b"<!doctype html":
        return "it is a web page (HTML), not the file: download what the page links to"
    if head[257:262] == b"ustar":
        return "it is a tar archive: unpack it, and give the file in it"
    if _is_text(text):
        line = text.decode(errors="ignore").splitlines()[0] if text else ""
        return f"it is a text file ({line!r:.40}): weights are binary files"
    return None


def describe_folder(folder: Path) -> str:
    """Return what a folder is that is neither a run nor a release, and the remedy, for a message."""
    files = sorted(file for pattern in ("*", "*/*") for file in folder.glob(pattern) if file.is_file())
    if any(_TENSORFLOW_FILE.fullmatch(file.name) for file in files):
        return f"it is the folder of {_TENSORFLOW}"
    weights = [str(file) for file in files if file.suffix.lower() in _WEIGHTS_SUFFIXES]
    if weights:
        return f"it is a folder: give the file of the weights in it ({list_first(weights)})"
    return "it is a folder without weights: give the file of the weights, or the folder of a run or a release"


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be incomplete
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
