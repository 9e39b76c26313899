"""Any folders of pairs."""

import os
from pathlib import Path
from typing import NamedTuple

from deblurlab.datasets.base import Pair, listed, match
from deblurlab.datasets.sets import PairSet, Store
from deblurlab.errors import UserError

Pairs = list[Pair]


class Folders(PairSet):
    """Any pairs: two folders, nested or flat, or a text file that lists them (`list`, see `listed`; paths are
    relative to the file). Without pairs of their own for validation, the last `val_share` of the pairs in the order
    of their names is held out: neighbours are often frames of one video, and the tail of a list leaks less than a
    random draw.

    Raises:
        UserError: As `match` and `listed`; or only one folder of two is given; or nothing is left to train or
        validate on.
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
            raise UserError(f"data.val_share is {val_share}: it is a share between 0 and 1")
        self._train = Source.of("", blurred, sharp, list)
        self._val = Source.of("val_", val_blurred, val_sharp, val_list)
        self._test = Source.of("test_", test_blurred, test_sharp, test_list)
        self._val_share = val_share
        if self._train is None:
            raise UserError("data=pairs needs data.blurred=<folder> and data.sharp=<folder>, or data.list=<file>")
        super().__init__(root=self._train.folder, store=store)

    def prepare(self) -> None:
        self.train(), self.val(), self.tests()

    def train(self) -> Pairs:
        pairs = self._all()
        return pairs if self._val else pairs[: -self._held_out(pairs)]

    def val(self) -> Pairs:
        if self._val:
            return self._val.pairs()
        pairs = self._all()
        return pairs[-self._held_out(pairs) :]

    def tests(self) -> dict[str, Pairs]:
        return {"pairs": self._test.pairs()} if self._test else {}

    def _all(self) -> Pairs:
        assert self._train is not None
        return self._train.pairs()

    def _held_out(self, pairs: Pairs) -> int:
        if len(pairs) < 2:
            raise UserError(f"{self.root} holds a single pair: there is nothing to validate on")
        return min(len(pairs) - 1, max(1, round(self._val_share * len(pairs))))


class Source(NamedTuple):
    """Two folders, or a list."""

    blurred: Path | None
    sharp: Path | None
    file: Path | None

    @classmethod
    def of(cls, prefix: str, blurred: str | None, sharp: str | None, file: str | None) -> "Source | None":
        """What the settings of this prefix say; None if they say nothing."""
        if (blurred is None) != (sharp is None):
            raise UserError(f"data.{prefix}blurred and data.{prefix}sharp go together: give both or none")
        if blurred is not None and file is not None:
            raise UserError(f"data.{prefix}list and data.{prefix}blurred are two ways to say the same: give one")
        if blurred is None and file is None:
            return None
        return cls(*(None if name is None else Path(name) for name in (blurred, sharp, file)))

    @property
    def folder(self) -> Path:
        """What all images lie below."""
        if self.file is not None:
            return self.file.parent
        assert self.blurred is not None
        assert self.sharp is not None
        return Path(os.path.commonpath([self.blurred.absolute(), self.sharp.absolute()]))

    def pairs(self) -> Pairs:
        if self.file is not None:
            return listed(self.file, self.file.parent)
        assert self.blurred is not None
        assert self.sharp is not None
        return match(self.blurred, self.sharp)
