"""Files that are something else than weights: what they are, and the remedy."""

import codecs

_PREFIXES = {
    b"version https://git-lfs": "it is a Git LFS pointer, not the file that it stands for: run git lfs pull in its "
    "repository, or download the file itself",
    b"<?xml": "it is an XML document, most likely a server's error message: download the file again",
    b"\x1f\x8b": "it is a gzip archive: unpack it, and give the file in it",
    b"7z\xbc\xaf\x27\x1c": "it is a 7z archive: unpack it, and give the file in it",
    b"Rar!": "it is a RAR archive: unpack it, and give the file in it",
    b"\x89HDF": "it is an HDF5 file of Keras or MATLAB: convert it to a state dict of torch first",
}


def describe_other_file(head: bytes) -> str | None:
    """Return what a file is and the remedy, for a message; None if it may hold weights.

    Args:
        head: The first bytes of the file, about 500.
    """
    if not head:
        return "it is empty: download it again"
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


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be incomplete
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
