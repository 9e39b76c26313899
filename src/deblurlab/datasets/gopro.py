"""GoPro data set."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from deblurlab.datasets.base import FileSet, Split, Store
from deblurlab.datasets.listing import Item, Pair, match_pairs, missing_error
from deblurlab.errors import UserError
from deblurlab.media.images import is_hidden

_LOG = logging.getLogger(__name__)
_REFERENCE_SPLIT = {"train": 1600, "val": 300, "test": 313}
"""Split sizes of the residual U-Net GAN (docs/method.md): 2213 of the 3214 pairs."""


class GoPro(FileSet):
    """GoPro (Nah, Kim and Lee, CVPR 2017).

    "Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring": 2103 training and 1111 test pairs,
    1280x720, CC BY 4.0, in `root/{train,test}/<sequence>/{blur,blur_gamma,sharp}/*.png`.

    There is no official validation split. Neighbouring frames are nearly identical, so whole training sequences are
    held out.

    Args:
        root: Folder that contains `train` and `test`.
        blur_key: "blur" averages sRGB values, as most published models were trained; "blur_gamma" averages linear
            light. These are two different data sets.
        validation: Training sequences to hold out: a list of names, or a number of sequences from the end by name.
        split: "official", or "paper": 1600 training, 300 validation and 313 test pairs drawn at random from all
            sequences, the split sizes of docs/method.md. The latter has frames of one sequence in all three splits,
            which makes metrics too high.
        split_seed: Seed of the draw for `split="paper"`.
        store: As for `FileSet`.

    Raises:
        UserError: The data set, a sequence or the blur is missing, or a sequence is in train and in test.
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
        """Check that the data set exists and that no sequence is in train and in test.

        The test set alone is enough to test on.
        """
        if not (self.root / "test").is_dir():
            raise self._missing("test")
        if shared := sorted(set(self._sequences("train")) & set(self._sequences("test"))):
            raise UserError(
                f"{self.root} has the sequence {shared[0]} in train and in test, which invalidates test results: "
                f"remove one of them"
            )
        if self._split == "paper":
            _LOG.warning(
                "data.split=paper has frames of the same sequences in training and test: metrics are too high."
            )

    def items(self, split: Split) -> list[Pair]:
        """Return the pairs of a split; those of "val" are of the held-out training sequences."""
        if self._split == "paper":
            return self._random_split(split)
        if split == "test":
            return self._pairs("test", self._sequences("test"))
        held_out = self._validation_sequences()
        training = [name for name in self._sequences("train") if name not in held_out]
        return self._pairs("train", training if split == "train" else held_out)

    def tests(self) -> dict[str, Sequence[Item]]:
        """Return the test set "gopro", or "gopro_paper" for `split="paper"`."""
        return {"gopro_paper" if self._split == "paper" else "gopro": self.items("test")}

    def splits(self) -> dict[str, list[Pair]]:
        """Return all pairs by official split."""
        return {split: self._pairs(split, self._sequences(split)) for split in ("train", "test")}

    def _sequences(self, split: str) -> list[str]:
        folder = self.root / split
        names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
        return sorted(name for name in names if not is_hidden(Path(name)))

    def _validation_sequences(self) -> list[str]:
        if not (self.root / "train").is_dir():
            raise self._missing("train")
        known = self._sequences("train")
        if isinstance(self._validation, int):
            held_out = known[len(known) - self._validation :] if self._validation < len(known) else known
        else:
            held_out = list(self._validation)
        missing = sorted(set(held_out) - set(known))
        if missing or len(held_out) >= len(known):
            problem = f"lacks the sequences {', '.join(missing)}" if missing else f"has only {len(known)} sequence(s)"
            raise UserError(
                f"{self.root / 'train'} {problem}, but data.validation={self._validation} holds them out: complete the "
                f"data set, name other sequences with data.validation=[<sequence>,...], or set data.validation=0"
            )
        return held_out

    def _random_split(self, part: str) -> list[Pair]:
        pairs = [pair._replace(name=f"{split}/{pair.name}") for split, found in self.splits().items() for pair in found]
        needed = sum(_REFERENCE_SPLIT.values())
        if len(pairs) < needed:
            raise UserError(
                f"data.split=paper needs {needed} pairs, {self.root} has {len(pairs)}: complete the data set, or use "
                f"data.split=official"
            )
        order = np.random.default_rng(self._split_seed).permutation(len(pairs))
        start = 0
        for name, count in _REFERENCE_SPLIT.items():
            if name == part:
                return [pairs[i] for i in sorted(order[start : start + count].tolist())]
            start += count
        raise KeyError(part)

    def _missing(self, split: str) -> UserError:
        page = "https://seungjunnah.github.io/Datasets/gopro"
        return missing_error("GoPro", self.root / split, "GOPRO_Large (9 GB)", page)

    def _pairs(self, split: str, sequences: Sequence[str]) -> list[Pair]:
        return sequence_pairs(self.root / split, sequences, self._blur_key)


def sequence_pairs(root: Path, sequences: Sequence[str], blur_key: str) -> list[Pair]:
    """Return the pairs in `root/<sequence>/{<blur_key>,sharp}`.

    Raises:
        UserError: A sequence has no folder `blur_key`, or an image has no counterpart.
    """
    folders = [(name, root / name) for name in sequences]
    for _, folder in folders:
        if not (folder / blur_key).is_dir():
            existing = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir()))
            raise UserError(f"{folder} has no {blur_key} (it has {existing}): choose another with data.blur_key")
    return [
        pair._replace(name=f"{name}/{pair.name}")
        for name, folder in folders
        for pair in match_pairs(folder / blur_key, folder / "sharp")
    ]
