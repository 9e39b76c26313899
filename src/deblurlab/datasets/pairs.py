"""Pairs from any folders or lists."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from deblurlab.datasets.base import FileSet, Split, Store
from deblurlab.datasets.listing import Item, Pair, hold_out, match_pairs
from deblurlab.datasets.pair_list import read_pair_list
from deblurlab.errors import UserError

Pairs = list[Pair]  # the constructor of Folders has an argument called list


class Folders(FileSet):
    """Pairs from two folders, nested or flat, or from a text file.

    Without validation pairs, the last `val_share` of the training pairs by name is held out, see `hold_out`. Test pairs
    alone are enough to test on.

    Args:
        blurred: Folder of blurred images; `sharp` the folder of sharp ones, with the same names up to the suffix.
        sharp: See `blurred`.
        list: Text file with two paths per line, relative to the file, instead of two folders.
        val_blurred: Validation pairs, likewise `val_sharp` and `val_list`.
        val_sharp: See `val_blurred`.
        val_list: See `val_blurred`.
        val_share: Share of the training pairs that is held out if no validation pairs are given.
        test_blurred: Test pairs, likewise `test_sharp` and `test_list`.
        test_sharp: See `test_blurred`.
        test_list: See `test_blurred`.
        store: As for `FileSet`.

    Raises:
        UserError: Only one of two folders is given, both folders and a list are given, the pairs can't be listed (see
            `match_pairs` and `read_pair_list`), or there are too few pairs to hold one out.
    """

    def __init__(
        self,
        *,
        blurred: str | None = None,
        sharp: str | None = None,
        list: str | None = None,
        val_blurred: str | None = None,
        val_sharp: str | None = None,
        val_list: str | None = None,
        val_share: float = 0.1,
        test_blurred: str | None = None,
        test_sharp: str | None = None,
        test_list: str | None = None,
        store: Store = "auto",
    ) -> None:
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share is {val_share}: it must be between 0 and 1")
        self._train = PairSource.from_config("", blurred, sharp, list)
        self._val = PairSource.from_config("val_", val_blurred, val_sharp, val_list)
        self._test = PairSource.from_config("test_", test_blurred, test_sharp, test_list)
        self._val_share = val_share
        given = self._train or self._test
        if given is None:
            raise UserError(
                "data=pairs needs data.blurred=<folder> and data.sharp=<folder>, or data.list=<file>; to test only, "
                "data.test_blurred and data.test_sharp, or data.test_list"
            )
        super().__init__(root=given.folder, store=store)

    def items(self, split: Split) -> Pairs:
        """Return the pairs of a split; without given validation pairs, training pairs are held out."""
        named = {"train": self._train, "val": self._val, "test": self._test}[split]
        if split == "test" or self._val is not None or self._train is None:
            return named.pairs() if named is not None else []
        return hold_out(self._train.pairs(), self._val_share)[split == "val"]

    def tests(self) -> dict[str, Sequence[Item]]:
        """Return the given test pairs as "pairs"."""
        return {"pairs": self.items("test")} if self._test else {}


class PairSource(NamedTuple):
    """Two folders of images, or a text file that lists pairs."""

    blurred: Path | None
    sharp: Path | None
    file: Path | None

    @classmethod
    def from_config(cls, prefix: str, blurred: str | None, sharp: str | None, file: str | None) -> "PairSource | None":
        """Return the source that the settings `data.<prefix>{blurred,sharp,list}` describe, or None without settings.

        Raises:
            UserError: Only one of two folders is given, or both folders and a list.
        """
        if (blurred is None) != (sharp is None):
            raise UserError(f"data.{prefix}blurred and data.{prefix}sharp go together: give both or none")
        if blurred is not None and file is not None:
            raise UserError(f"data.{prefix}list and data.{prefix}blurred are both given: give one of them")
        if blurred is None and file is None:
            return None
        return cls(*(None if name is None else Path(name) for name in (blurred, sharp, file)))

    @property
    def folder(self) -> Path:
        """Common parent folder of all images."""
        if self.file is not None:
            return self.file.parent
        assert self.blurred is not None
        assert self.sharp is not None
        return Path(os.path.commonpath([self.blurred.absolute(), self.sharp.absolute()]))

    def pairs(self) -> Pairs:
        """Return the pairs."""
        if self.file is not None:
            return read_pair_list(self.file, self.file.parent)
        assert self.blurred is not None
        assert self.sharp is not None
        return match_pairs(self.blurred, self.sharp)
