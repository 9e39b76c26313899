"""The layout of the GoPro data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from deblurlab.data.pairs import Pair, match
from deblurlab.errors import UserError


class GoPro:
    """GoPro (Nah et al., CVPR 2017): `root/{train,test}/<sequence>/{blur,blur_gamma,sharp}/*.png`; 2103 training and
    1111 test pairs of 1280x720.

    `blur_key` says which blur: "blur" (frames averaged as they are, as most published models were trained) or
    "blur_gamma" (averaged in linear light): they are two different data sets.

    There is no official validation split, and neighbouring frames are nearly the same, so whole training
    sequences are held out: those that `validation` names, or, if it is a number, that many from the end in name order.

    Raises:
        UserError: The data set isn't there, or a sequence is missing.
    """

    def __init__(
        self,
        *,
        root: str,
        blur_key: Literal["blur", "blur_gamma"] = "blur",
        validation: int | Sequence[str] = 2,
        test_name: str = "gopro",
    ) -> None:
        if blur_key not in ("blur", "blur_gamma"):
            raise UserError(f"data.blur_key is {blur_key!r}: blur or blur_gamma")
        self._root = Path(root)
        self._blur_key = blur_key
        self._validation = validation
        self._test_name = test_name

    def prepare(self) -> None:
        for split in ("train", "test"):
            if not (self._root / split).is_dir():
                raise UserError(
                    f"there is no GoPro data set at {self._root}: get GOPRO_Large (9 GB, CC BY 4.0) from the project "
                    f'page of Nah et al., "Deep Multi-scale Convolutional Neural Network for Dynamic Scene '
                    f'Deblurring", and unpack it so that {self._root / split} exists, or say where it is: '
                    f"data.root=<folder>"
                )
        self._held_out()

    def train(self) -> list[Pair]:
        return self._pairs("train", [s for s in self._sequences("train") if s not in self._held_out()])

    def val(self) -> list[Pair]:
        return self._pairs("train", self._held_out())

    def tests(self) -> dict[str, list[Pair]]:
        return {self._test_name: self._pairs("test", self._sequences("test"))}

    def _sequences(self, split: str) -> list[str]:
        return sorted(path.name for path in (self._root / split).iterdir() if path.is_dir())

    def _held_out(self) -> list[str]:
        known = self._sequences("train")
        if isinstance(self._validation, int):
            held_out = known[len(known) - self._validation :] if self._validation < len(known) else known
        else:
            held_out = list(self._validation)
        missing = sorted(set(held_out) - set(known))
        if missing or len(held_out) >= len(known):
            what = f"lacks the sequences {', '.join(missing)}" if missing else f"has only {len(known)} sequence(s)"
            raise UserError(
                f"{self._root / 'train'} {what} and data.validation={self._validation} is to be held out of it: is the "
                f"data set whole? data.validation=[<sequence>,...] names others; data.validation=0 goes without"
            )
        return held_out

    def _pairs(self, split: str, sequences: Sequence[str]) -> list[Pair]:
        folders = [(name, self._root / split / name) for name in sequences]
        return [
            pair._replace(name=f"{name}/{pair.name}")
            for name, folder in folders
            for pair in match(folder / self._blur_key, folder / "sharp")
        ]
