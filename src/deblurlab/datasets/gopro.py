"""The layout of the GoPro data set."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from deblurlab.datasets.base import Pair, match, missing
from deblurlab.datasets.sets import PairSet, Store
from deblurlab.errors import UserError

_LOG = logging.getLogger(__name__)
_PAPER = {"train": 1600, "val": 300, "test": 313}
"""The split of the paper this project began with: 2,213 pairs."""


class GoPro(PairSet):
    """GoPro (Nah et al., CVPR 2017): `root/{train,test}/<sequence>/{blur,blur_gamma,sharp}/*.png`; 2103 training and
    1111 test pairs of 1280x720.

    `blur_key` says which blur: "blur" (frames averaged as they are, as most published models were trained) or
    "blur_gamma" (averaged in linear light): they are two different data sets.

    There is no official validation split, and neighbouring frames are nearly the same, so whole training sequences are
    held out: those that `validation` names, or, if it is a number, that many from the end in name order. With
    `split="paper"` 1600, 300 and 313 of all pairs are drawn at random instead, by `split_seed`, as the paper's numbers
    suggest; frames of one sequence are then in all three, and scores look better than they are.

    Raises:
        UserError: The data set isn't there, a sequence or the blur is missing, or training and test share a sequence.
    """

    published = {"train": 2103, "test": 1111}

    def __init__(
        self,
        *,
        root: str,
        blur_key: Literal["blur", "blur_gamma"] = "blur",
        validation: int | Sequence[str] = 2,
        split: Literal["official", "paper"] = "official",
        split_seed: int = 0,
        store: Store = "auto",
    ) -> None:
        super().__init__(root=root, store=store)
        if blur_key not in ("blur", "blur_gamma"):
            raise UserError(f"data.blur_key is {blur_key!r}: blur or blur_gamma")
        if split not in ("official", "paper"):
            raise UserError(f"data.split is {split!r}: official or paper")
        self._blur_key = blur_key
        self._validation = validation
        self._split, self._split_seed = split, split_seed

    def prepare(self) -> None:
        for split in ("train", "test"):
            if not (self.root / split).is_dir():
                raise missing(
                    "GoPro", self.root / split, "GOPRO_Large (9 GB, CC BY 4.0)",
                    'Nah et al., "Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring"',
                )  # fmt: skip
        if shared := sorted(set(self._sequences("train")) & set(self._sequences("test"))):
            raise UserError(f"{self.root} has the sequence {shared[0]} in train and in test: scores would be worthless")
        if self._split == "paper":
            _LOG.warning(
                "data.split=paper draws frames of the same sequences for training and test: its scores flatter"
            )
        else:
            self._held_out()

    def train(self) -> list[Pair]:
        if self._split == "paper":
            return self._drawn("train")
        return self._pairs("train", [s for s in self._sequences("train") if s not in self._held_out()])

    def val(self) -> list[Pair]:
        return self._drawn("val") if self._split == "paper" else self._pairs("train", self._held_out())

    def tests(self) -> dict[str, list[Pair]]:
        if self._split == "paper":
            return {"gopro_paper": self._drawn("test")}
        return {"gopro": self._pairs("test", self._sequences("test"))}

    def splits(self) -> dict[str, list[Pair]]:
        return {split: self._pairs(split, self._sequences(split)) for split in ("train", "test")}

    def _sequences(self, split: str) -> list[str]:
        folder = self.root / split
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def _held_out(self) -> list[str]:
        known = self._sequences("train")
        if isinstance(self._validation, int):
            held_out = known[len(known) - self._validation :] if self._validation < len(known) else known
        else:
            held_out = list(self._validation)
        lost = sorted(set(held_out) - set(known))
        if lost or len(held_out) >= len(known):
            what = f"lacks the sequences {', '.join(lost)}" if lost else f"has only {len(known)} sequence(s)"
            raise UserError(
                f"{self.root / 'train'} {what} and data.validation={self._validation} is to be held out of it: is the "
                f"data set whole? data.validation=[<sequence>,...] names others; data.validation=0 goes without"
            )
        return held_out

    def _drawn(self, part: str) -> list[Pair]:
        pairs = [pair._replace(name=f"{split}/{pair.name}") for split, found in self.splits().items() for pair in found]
        if len(pairs) < sum(_PAPER.values()):
            raise UserError(f"data.split=paper takes {sum(_PAPER.values())} pairs, {self.root} has {len(pairs)}")
        order = np.random.default_rng(self._split_seed).permutation(len(pairs))
        start = 0
        for name, count in _PAPER.items():
            if name == part:
                return [pairs[i] for i in sorted(order[start : start + count].tolist())]
            start += count
        raise KeyError(part)

    def _pairs(self, split: str, sequences: Sequence[str]) -> list[Pair]:
        return pairs_of(self.root / split, sequences, self._blur_key)


def pairs_of(root: Path, sequences: Sequence[str], blur_key: str) -> list[Pair]:
    """The pairs of `root/<sequence>/{<blur_key>,sharp}`.

    Raises:
        UserError: A sequence hasn't that blur, or some image no twin.
    """
    folders = [(name, root / name) for name in sequences]
    for _, folder in folders:
        if not (folder / blur_key).is_dir():
            there = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir()))
            raise UserError(f"{folder} has no {blur_key} (it has {there}): data.blur_key names another blur")
    return [
        pair._replace(name=f"{name}/{pair.name}")
        for name, folder in folders
        for pair in match(folder / blur_key, folder / "sharp")
    ]
