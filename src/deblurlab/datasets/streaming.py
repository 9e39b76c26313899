"""Data sets larger than a disk: shards in a folder or an object store, read sample by sample through litdata."""

import io
import itertools
import re
import tempfile
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblurlab.datasets.base import Pair
from deblurlab.datasets.frame_store import Image, Reader
from deblurlab.datasets.sets import PairSet
from deblurlab.datasets.shards import SIDES, litdata
from deblurlab.errors import UserError, first_sentence
from deblurlab.media.images import decode_image
from deblurlab.runs.storage import s3_config
from deblurlab.runs.untrusted import is_inside, is_safe_relative_path, parse_json

if TYPE_CHECKING:
    from litdata import StreamingDataset

_INDEX = "index.json"


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
            names = _checked(parse_json(_open(f"{self._place}/names", ["str"])[0]))
        except UserError:
            raise
        except Exception as error:  # whatever litdata, its cloud client or the network make of it
            raise UserError(
                f"data.root={self._place} holds no shards or can't be reached: {first_sentence(error)}; `deblurlab data pack "
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
                    self._shards = _open(f"{self._place}/images", ["bytes"] * len(SIDES))
                self._last = number, dict(zip(SIDES, self._shards[number], strict=True))
            except Exception as error:  # whatever litdata, its cloud client or the network make of it
                raise UserError(
                    f"data.root={self._place}: sample {number} can't be read: {first_sentence(error)}; the same command goes "
                    f"on once it can; damaged shards must be packed again"
                ) from error
        return decode_image(io.BytesIO(self._last[1][path.name]), f"{self._place}, sample {number}, {path.name}")

    def __getstate__(self) -> dict[str, Any]:
        return {"_place": self._place, "_shards": None, "_last": (-1, {})}  # a worker has a connection of its own


def _checked(names: Any) -> dict[str, list[str]]:
    """Lists of names by split; they become names of files.

    Raises:
        ValueError: They are none, or such that a file's place would be another.
    """
    if not isinstance(names, dict) or not all(isinstance(listed, list) for listed in names.values()):
        raise ValueError("its names aren't lists by split")
    for split in names:
        if split not in ("train", "val") and not re.fullmatch(r"test/[\w.+-]*\w", split):
            raise ValueError(f"{split[:100]!r} is no split")
    for name in itertools.chain.from_iterable(names.values()):
        if not isinstance(name, str) or not is_safe_relative_path(name):
            raise ValueError(f"{name!r:.100} is no name of a pair")
    return names


def _open(place: str, kinds: list[str]) -> "StreamingDataset":
    """Shards of samples of these kinds.

    Raises:
        Exception: Whatever litdata makes of others; ValueError if what it would do is more than to read them.
    """
    library = litdata()
    if "://" not in place and not Path(place, _INDEX).is_file():
        raise ValueError(f"there is no {place}/{_INDEX}")  # litdata would make one
    options = {"config": s3_config()} if place.startswith("s3://") else None
    # Of a remote set only the index is kept on disk.
    cache_dir = tempfile.mkdtemp(dir=_scratch().name)
    shards = library.StreamingDataset(place, cache_dir=cache_dir, storage_options=options)
    _check_index_files(Path(shards.input_dir.path), kinds)
    return shards


def _check_index_files(folder: Path, kinds: list[str]) -> None:
    """An index may tell litdata to unpickle, import, inflate, or read elsewhere."""
    index = parse_json((folder / _INDEX).read_text())
    config, chunks = index["config"], index["chunks"]
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    listed = {"type": "builtins.list", "context": "null", "children_spec": [leaf] * len(kinds)}
    if (
        config["data_format"] != kinds
        or parse_json(config["data_spec"]) != [1, listed if len(kinds) > 1 else leaf]
        or config["item_loader"] != "PyTreeLoader"
        or any(config.get(key) for key in ("compression", "compression_level", "encryption", "format"))
    ):
        raise ValueError(f"{folder / _INDEX} isn't an index that deblurlab writes")
    for name in (chunk["filename"] for chunk in chunks):
        if not re.fullmatch(r"chunk-\d+-\d+\.bin", name) or not is_inside(folder / name, folder):
            raise ValueError(f"{folder / _INDEX} names a file that is no shard: {name[:100]!r}")


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with this process; a loader's workers inherit it."""
    return tempfile.TemporaryDirectory(prefix="shards-", ignore_cleanup_errors=True)
