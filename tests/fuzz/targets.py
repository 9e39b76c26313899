"""What is fuzzed: bytes become files that somebody might send, and reading them gives what they hold or a UserError.

An input is a text and some bytes with `SEPARATOR` between them. In the text SHA256 stands for the checksum that would
be right, or no mutation would ever get past it.
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
"""The image files that a fuzzed frame store may be of: empty ones from 1970."""
_MEMORY = Path("/dev/shm")
_ROOT = _MEMORY if _MEMORY.is_dir() else None


def release(data: bytes) -> None:
    """`release.json`, `SEPARATOR`, `weights.safetensors`."""
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
    """`index.json` where FRAMES stands for its list, `SEPARATOR`, that list, `SEPARATOR`, `pixels.bin`; in the list
    CRC32 stands for the checksum of all pixels."""
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
