"""The layouts of the RealBlur and RSBlur data sets: lists of pairs."""

from pathlib import Path
from typing import Literal

from deblurlab.datasets.base import Pair, listed, missing
from deblurlab.datasets.sets import PairSet, Store


class RealBlur(PairSet):
    """RealBlur-J or -R (Rim et al., ECCV 2020): photographs taken with two shutters at once, in scenes of their own;
    `root/RealBlur_<kind>_{train,test}_list.txt` say which lie below `root`; 3758 and 980 pairs of each kind. Training
    scenes named in the last `val_share` of the list are held out.

    Published scores align restored and sharp before they compare them; scores that don't are lower.

    Raises:
        UserError: The data set isn't there, or an image of a list is missing.
    """

    published = {"train": 3758, "test": 980}

    def __init__(self, *, root: str, kind: Literal["J", "R"], val_share: float = 0.05, store: Store = "auto") -> None:
        super().__init__(root=root, store=store)
        self._kind, self._val_share = kind, val_share

    def prepare(self) -> None:
        if not self._list("test").is_file():
            raise missing(
                f"RealBlur-{self._kind}", self._list("test"), "RealBlur (12 GB, CC BY 4.0) with its lists",
                'Rim et al., "Real-World Blur Dataset for Learning and Benchmarking Deblurring Algorithms"',
            )  # fmt: skip

    def train(self) -> list[Pair]:
        pairs, held_out = self._training()
        return [pair for pair in pairs if _scene(pair) not in held_out]

    def val(self) -> list[Pair]:
        pairs, held_out = self._training()
        return [pair for pair in pairs if _scene(pair) in held_out]

    def tests(self) -> dict[str, list[Pair]]:
        return {f"realblur_{self._kind.lower()}": listed(self._list("test"), self.root, sharp_first=True)}

    def _training(self) -> tuple[list[Pair], set[str]]:
        if not self._list("train").is_file():
            return [], set()
        pairs = listed(self._list("train"), self.root, sharp_first=True)
        return pairs, {_scene(pair) for pair in pairs[len(pairs) - round(self._val_share * len(pairs)) :]}

    def _list(self, split: str) -> Path:
        return self.root / f"RealBlur_{self._kind}_{split}_list.txt"


class RSBlur(PairSet):
    """RSBlur (Rim et al., ECCV 2022): 1920x1200 photographs of two cameras behind one lens;
    `root/RSBlur_real_{train,val,test}.txt` say which pairs of `real_blur` and `gt` belong to which split; 8878, 1120
    and 3360.

    Raises:
        UserError: The data set isn't there, or an image of a list is missing.
    """

    published = {"train": 8878, "val": 1120, "test": 3360}

    def __init__(self, *, root: str, store: Store = "auto") -> None:
        super().__init__(root=root, store=store)

    def prepare(self) -> None:
        if not self._list("test").is_file():
            raise missing(
                "RSBlur", self._list("test"), "RSBlur (CC BY 4.0) with its lists of `datalist/RSBlur`",
                'Rim et al., "Realistic Blur Synthesis for Learning Image Deblurring"',
            )  # fmt: skip

    def train(self) -> list[Pair]:
        return self._pairs("train")

    def val(self) -> list[Pair]:
        return self._pairs("val")

    def tests(self) -> dict[str, list[Pair]]:
        return {"rsblur": self._pairs("test")}

    def splits(self) -> dict[str, list[Pair]]:
        return {"train": self.train(), "val": self.val(), "test": self._pairs("test")}

    def _pairs(self, split: str) -> list[Pair]:
        file = self._list(split)
        return listed(file, self.root, sharp_first=True) if file.is_file() else []

    def _list(self, split: str) -> Path:
        return self.root / f"RSBlur_real_{split}.txt"


def _scene(pair: Pair) -> str:
    """The folder above those of blurred and sharp images."""
    return pair.group.rpartition("/")[0]
