"""Data sets larger than a disk: shards in a folder or an object store, read sample by sample through litdata."""

import io
import itertools
import json
import tempfile
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblurlab.data.frames import Image, Reader
from deblurlab.data.images import decode_image
from deblurlab.data.pairs import Pair
from deblurlab.data.sets import PairSet
from deblurlab.data.shards import SIDES, litdata, patience
from deblurlab.errors import UserError, reason

if TYPE_CHECKING:
    from litdata import StreamingDataset


class Streaming(PairSet):
    """Shards that `write_shards` wrote, at `root`: a folder, or whatever address litdata reads (`s3://bucket/folder`,
    with the endpoint and the credentials of the usual `AWS_...` variables).

    Nothing is kept on disk: each pair is asked for by itself, first where its bytes are, then for them. So samples
    come in the same keyed order as those of any other set, and a resumed training goes on with the very next one.

    Raises:
        UserError: litdata isn't installed, or `root` holds no whole set of shards or can't be reached.
    """

    def __init__(self, *, root: str) -> None:
        self._place = str(root).rstrip("/")
        super().__init__(root=self._place, store="off")

    def prepare(self) -> None:
        _ = self._pairs

    def train(self) -> list[Pair]:
        return self._pairs.get("train", [])

    def val(self) -> list[Pair]:
        return self._pairs.get("val", [])

    def tests(self) -> dict[str, list[Pair]]:
        return {name.partition("/")[2]: pairs for name, pairs in self._pairs.items() if name.startswith("test/")}

    @property
    def on_disk(self) -> bool:
        return False

    def readers(self) -> dict[Path, Reader]:
        return {self.root: _ShardReader(self._place)}

    @cached_property
    def _pairs(self) -> dict[str, list[Pair]]:
        """By split. Their paths end in the number of the sample and its side, for the reader."""
        try:
            names = json.loads(_open(f"{self._place}/names")[0])
        except UserError:
            raise
        except Exception as error:  # whatever litdata, its cloud client or the network make of it
            raise UserError(
                f"data.root={self._place} holds no shards or can't be reached: {reason(error)}; `deblurlab data pack "
                f"<set> <root> --streaming OUT` writes them"
            ) from error
        found: dict[str, list[Pair]] = {}
        numbers = map(str, itertools.count())
        for split, listed in names.items():
            for name in listed:
                place = self.root / next(numbers)
                found.setdefault(split, []).append(Pair(name, place / "blurred", place / "sharp"))
        return found


class _ShardReader:
    """Reads images by number and side; the two of a pair in succession are read at once."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._shards: Any = None
        self._last: tuple[int, dict[str, bytes]] = (-1, {})

    def __call__(self, path: Path) -> Image:
        """
        Raises:
            UserError: The sample can't be read.
        """
        number = int(path.parent.name)
        if self._last[0] != number:
            try:
                if self._shards is None:
                    self._shards = _open(f"{self._place}/images")
                self._last = number, dict(zip(SIDES, self._shards[number], strict=True))
            except Exception as error:  # whatever litdata, its cloud client or the network make of it
                raise UserError(
                    f"data.root={self._place}: sample {number} can't be read: {reason(error)}; the same command goes "
                    f"on once it can; damaged shards must be packed again"
                ) from error
        return decode_image(io.BytesIO(self._last[1][path.name]), f"{self._place}, sample {number}, {path.name}")

    def __getstate__(self) -> dict[str, Any]:
        return {"_place": self._place, "_shards": None, "_last": (-1, {})}  # a worker has a connection of its own


def _open(place: str) -> "StreamingDataset":
    options = {"config": patience()} if place.startswith("s3://") else None
    # Of a remote set only the index is kept on disk.
    cache_dir = tempfile.mkdtemp(dir=_scratch().name)
    return litdata().StreamingDataset(place, cache_dir=cache_dir, storage_options=options)


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with this process; a loader's workers inherit it."""
    return tempfile.TemporaryDirectory(prefix="shards-", ignore_cleanup_errors=True)
