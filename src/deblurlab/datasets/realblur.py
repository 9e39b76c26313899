"""RealBlur and RSBlur data sets, whose splits are lists of pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from deblurlab.datasets.base import FileSet, Split, Store
from deblurlab.datasets.listing import Item, Pair, missing_error
from deblurlab.datasets.pair_list import read_pair_list


class RealBlur(FileSet):
    """RealBlur-J or RealBlur-R (Rim et al., ECCV 2020).

    "Real-World Blur Dataset for Learning and Benchmarking Deblurring Algorithms": photographs taken by two cameras at
    once through one lens, 3758 training and 980 test pairs of each kind, CC BY 4.0.
    `root/RealBlur_<kind>_{train,test}_list.txt` list the pairs, relative to `root`.

    Published results align the restored image with the reference before they are compared (`protocol=realblur`).

    Args:
        root: Folder that contains the lists.
        kind: "J" (camera JPEGs) or "R" (developed raw images).
        val_share: Share of the training pairs, from the end of the list and in whole scenes, that is held out.
        store: As for `FileSet`.

    Raises:
        UserError: The data set is missing, or an image of a list doesn't exist.
    """

    published = {"train": 3758, "test": 980}

    def __init__(self, *, root: str, kind: Literal["J", "R"], val_share: float = 0.05, store: Store = "auto") -> None:
        super().__init__(root=root, store=store)
        self._kind, self._val_share = kind, val_share

    def prepare(self) -> None:
        """Check that the data set exists."""
        if not self._list("test").is_file():
            raise missing_error(
                f"RealBlur-{self._kind}",
                self._list("test"),
                "RealBlur (12 GB) with its lists",
                "https://cg.postech.ac.kr/research/realblur/",
            )

    def items(self, split: Split) -> list[Pair]:
        """Return the pairs of a split; those of "val" are of the held-out training scenes."""
        if split == "test":
            return read_pair_list(self._list("test"), self.root, sharp_first=True)
        pairs, held_out = self._training()
        return [pair for pair in pairs if (_scene(pair) in held_out) == (split == "val")]

    def tests(self) -> dict[str, Sequence[Item]]:
        """Return the test set "realblur_j" or "realblur_r"."""
        return {f"realblur_{self._kind.lower()}": self.items("test")}

    def _training(self) -> tuple[list[Pair], set[str]]:
        """Return the official training pairs and the scenes that are held out."""
        if not self._list("train").is_file():
            return [], set()
        pairs = read_pair_list(self._list("train"), self.root, sharp_first=True)
        return pairs, {_scene(pair) for pair in pairs[len(pairs) - round(self._val_share * len(pairs)) :]}

    def _list(self, split: str) -> Path:
        return self.root / f"RealBlur_{self._kind}_{split}_list.txt"


class RSBlur(FileSet):
    """RSBlur (Rim et al., "Realistic Blur Synthesis for Learning Image Deblurring", ECCV 2022).

    Photographs of 1920x1200 pixels taken by two cameras at once through one lens; 8878 training, 1120 validation and
    3360 test pairs, CC BY 4.0. `root/RSBlur_real_{train,val,test}.txt` list the pairs, relative to `root`.

    Raises:
        UserError: The data set is missing, or an image of a list doesn't exist.
    """

    published = {"train": 8878, "val": 1120, "test": 3360}

    def __init__(self, *, root: str, store: Store = "auto") -> None:
        super().__init__(root=root, store=store)

    def prepare(self) -> None:
        """Check that the data set exists."""
        if not self._list("test").is_file():
            raise missing_error(
                "RSBlur",
                self._list("test"),
                "RSBlur with its lists of `datalist/RSBlur`",
                "https://cg.postech.ac.kr/research/RSBlur/",
            )

    def items(self, split: Split) -> list[Pair]:
        """Return the pairs of a split."""
        file = self._list(split)
        return read_pair_list(file, self.root, sharp_first=True) if file.is_file() else []

    def tests(self) -> dict[str, Sequence[Item]]:
        """Return the test set "rsblur"."""
        return {"rsblur": self.items("test")}

    def splits(self) -> dict[str, list[Pair]]:
        """Return all pairs by official split."""
        return {"train": self.items("train"), "val": self.items("val"), "test": self.items("test")}

    def _list(self, split: str) -> Path:
        return self.root / f"RSBlur_real_{split}.txt"


def _scene(pair: Pair) -> str:
    """Return the folder above the folders of blurred and sharp images."""
    return pair.group.rpartition("/")[0]
