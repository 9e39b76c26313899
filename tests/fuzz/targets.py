"""Fuzz targets: bytes become files, and reading them must return their content or raise UserError.

An input is a text and bytes with `SEPARATOR` between them. SHA256 in the text is replaced by the right checksum, since
mutations would never get past it otherwise.
"""

import json
import os
import tempfile
import zlib
from hashlib import sha256
from pathlib import Path

from deblurlab.checkpoints.release import read_release
from deblurlab.datasets.frame_store import FrameStore
from deblurlab.errors import UserError

SEPARATOR = b"\n---\n"
IMAGES = ("a.png", "b/c.png")
"""Image files that a fuzzed frame store may name: empty files with the modification time 0."""
_MEMORY = Path("/dev/shm")
_ROOT = _MEMORY if _MEMORY.is_dir() else None


def release(data: bytes) -> None:
    """Read a release. The input is `release.json`, `SEPARATOR`, `weights.safetensors`."""
    index, _, weights = data.partition(SEPARATOR)
    with tempfile.TemporaryDirectory(dir=_ROOT) as name:
        folder = Path(name)
        (folder / "release.json").write_bytes(index.replace(b"SHA256", sha256(weights).hexdigest().encode()))
        (folder / "weights.safetensors").write_bytes(weights)
        try:
            found, tensors = read_release(folder)
        except UserError:
            return
    assert found["weights"]["sha256"] == sha256(weights).hexdigest()
    assert isinstance(found["model"]["class"], str)
    assert all(isinstance(key, str) for key in found["model"]["arguments"])
    assert sum(tensor.nbytes for tensor in tensors.values()) < len(weights)


def frames(data: bytes) -> None:
    """Read a frame store.

    The input is `index.json`, `SEPARATOR`, the list of frames, `SEPARATOR`, `pixels.bin`. FRAMES in the index is
    replaced by the list, CRC32 in the list by the checksum of all pixels.
    """
    index, listed, pixels = [*data.split(SEPARATOR, 2), b"", b""][:3]
    text = listed.replace(b"CRC32", str(zlib.crc32(pixels)).encode()).decode(errors="replace")
    checksum = sha256(text.encode()).hexdigest()
    index = index.replace(b"SHA256", checksum.encode()).replace(b"FRAMES", json.dumps(text).encode())
    with tempfile.TemporaryDirectory(dir=_ROOT) as name:
        root = Path(name)
        (root / "frames").mkdir()
        (root / "frames" / "index.json").write_bytes(index)
        (root / "frames" / "pixels.bin").write_bytes(pixels)
        for image in IMAGES:
            (root / image).parent.mkdir(exist_ok=True)
            (root / image).touch()
            os.utime(root / image, ns=(0, 0))
        try:
            store = FrameStore(root)
            read = [store(root / image) for image in IMAGES if root / image in store]
        except UserError:
            return
    assert len(read) == len(store)
    parts = [image.tobytes() for image in read]
    assert pixels in (b"".join(parts), b"".join(reversed(parts)))
