"""Data set in shards, in a folder or an object store, read sample by sample through litdata."""

import io
import itertools
import re
import tempfile
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deblurlab.datasets.base import ImageSet, Split
from deblurlab.datasets.frame_store import Image
from deblurlab.datasets.listing import Pair
from deblurlab.datasets.shards import SIDES, import_litdata
from deblurlab.errors import UserError, first_sentence
from deblurlab.media.images import decode_image
from deblurlab.runs.storage import s3_config
from deblurlab.runs.untrusted import is_inside, is_safe_relative_path, parse_json

if TYPE_CHECKING:
    from litdata import StreamingDataset

_INDEX = "index.json"


class Streaming(ImageSet):
    """Shards that `write_shards` wrote, for data sets larger than the local disk.

    Nothing but the index is kept on disk. Each pair is read by itself, so samples come in the same keyed order as those
    of other data sets, and a resumed training continues with the next sample.

    Args:
        root: Folder, or an address that litdata reads, such as `s3://bucket/folder`. The usual `AWS_...` environment
            variables set the endpoint and the credentials.

    Raises:
        UserError: litdata isn't installed, or `root` holds no complete shards or can't be reached.
    """

    def __init__(self, *, root: str) -> None:
        self._place = str(root).rstrip("/")
        self._reader = _ShardReader(self._place)

    def prepare(self) -> None:
        """Read the names of the pairs."""
        _ = self._pairs

    def items(self, split: Split) -> list[Pair]:
        """Return the pairs of a split."""
        if split == "test":
            return [pair for pairs in self.tests().values() for pair in pairs]
        return self._pairs.get(split, [])

    def tests(self) -> dict[str, Sequence[Pair]]:  # type: ignore[override]
        """Return the test sets by name."""
        return {name.partition("/")[2]: pairs for name, pairs in self._pairs.items() if name.startswith("test/")}

    def read(self, reference: "Stored") -> Image:
        """Return an image.

        Raises:
            UserError: The sample can't be read.
        """
        return self._reader(reference)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_pairs"}  # a worker gets its own list

    @cached_property
    def _pairs(self) -> dict[str, list[Pair]]:
        """Pairs by split."""
        try:
            names = _validated_names(parse_json(_open(f"{self._place}/names", ["str"])[0]))
        except UserError:
            raise
        except Exception as error:  # litdata, its cloud client and the network raise any kind
            raise UserError(
                f"data.root={self._place} holds no shards or can't be reached: {first_sentence(error)}; `deblurlab "
                f"data pack <set> <root> --streaming OUT` writes shards"
            ) from error
        found: dict[str, list[Pair]] = {}
        numbers = itertools.count()
        for split, listed in names.items():
            for name, number in zip(listed, numbers, strict=False):
                found.setdefault(split, []).append(Pair(name, *(Stored(number, side) for side in SIDES)))
        return found


class Stored(NamedTuple):
    """Image in the shards."""

    number: int
    """Number of the pair."""
    side: str
    """"blurred" or "sharp"."""


class _ShardReader:
    """Reader of images in shards. The bytes of a pair are read once for both images."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._shards: Any = None
        self._last: tuple[int, dict[str, bytes]] = (-1, {})

    def __call__(self, reference: Stored) -> Image:
        """Return an image.

        Raises:
            UserError: The sample can't be read.
        """
        number, side = reference
        last = self._last  # another thread may replace it
        if last[0] != number:
            try:
                if self._shards is None:
                    self._shards = _open(f"{self._place}/images", ["bytes"] * len(SIDES))
                last = self._last = number, dict(zip(SIDES, self._shards[number], strict=True))
            except Exception as error:  # litdata, its cloud client and the network raise any kind
                raise UserError(
                    f"data.root={self._place}: sample {number} can't be read: {first_sentence(error)}; run the same "
                    f"command again to resume, or pack the data set again if the shards are damaged"
                ) from error
        return decode_image(io.BytesIO(last[1][side]), f"{self._place}, sample {number}, {side}")

    def __getstate__(self) -> dict[str, Any]:
        return {"_place": self._place, "_shards": None, "_last": (-1, {})}  # each worker opens its own connection


def _validated_names(names: Any) -> dict[str, list[str]]:
    """Return names by split, checked because they become paths.

    Raises:
        ValueError: These aren't lists of names by split, or a name leads out of the data set's folder.
    """
    if not isinstance(names, dict) or not all(isinstance(listed, list) for listed in names.values()):
        raise ValueError("its names aren't lists by split")
    for split in names:
        if split not in ("train", "val") and not re.fullmatch(r"test/[\w.+-]*\w", split):
            raise ValueError(f"{split[:100]!r} is not a split")
    for name in itertools.chain.from_iterable(names.values()):
        if not isinstance(name, str) or not is_safe_relative_path(name):
            raise ValueError(f"{name!r:.100} is not a valid name of a pair")
    return names


def _open(place: str, kinds: list[str]) -> "StreamingDataset":
    """Open the shards of samples whose fields have these litdata formats.

    Raises:
        ValueError: There is no index, or it isn't one that `write_shards` writes.
        Exception: litdata can't read the shards.
    """
    library = import_litdata()
    if "://" not in place and not Path(place, _INDEX).is_file():
        raise ValueError(f"there is no {place}/{_INDEX}")  # litdata would write one
    options = {"config": s3_config()} if place.startswith("s3://") else None
    # Of a remote set only the index is kept on disk.
    cache_dir = tempfile.mkdtemp(dir=_temporary_folder().name)
    shards = library.StreamingDataset(place, cache_dir=cache_dir, storage_options=options)
    _check_index_files(Path(shards.input_dir.path), kinds)
    return shards


def _check_index_files(folder: Path, kinds: list[str]) -> None:
    """Raise ValueError unless the index is one that `write_shards` writes.

    Another index can make litdata unpickle objects, import modules, decompress, or read files elsewhere.
    """
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
            raise ValueError(f"{folder / _INDEX} names a file that is not a shard: {name[:100]!r}")


@cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return the temporary folder of this process; data loading workers inherit it."""
    return tempfile.TemporaryDirectory(prefix="shards-", ignore_cleanup_errors=True)
