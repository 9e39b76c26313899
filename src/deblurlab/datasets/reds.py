"""The layout of the REDS data set."""

from collections.abc import Sequence

from deblurlab.datasets.base import Pair, match, missing
from deblurlab.datasets.sets import PairSet, Store


class REDS(PairSet):
    """REDS (Nah et al., CVPRW 2019): `root/{train,val}/{train,val}_{blur,sharp}/<clip>/*.png`; 240 training clips of
    100 frames, 1280x720, and 30 for validation, which serve as the test set, as those of the test aren't public.

    Whole training clips are held out to choose a checkpoint: by default REDS4, the four that video restoration leaves
    out.

    Raises:
        UserError: The data set isn't there, or a clip has frames without a twin.
    """

    published = {"train": 24000, "test": 3000}

    def __init__(
        self,
        *,
        root: str,
        blur: str = "blur",
        validation: Sequence[str] = ("000", "011", "015", "020"),
        store: Store = "auto",
    ) -> None:
        super().__init__(root=root, store=store)
        self._blur = blur
        self._validation = list(validation)

    def prepare(self) -> None:
        if not any((self.root / split).is_dir() for split in ("train", "val")):
            raise missing(
                "REDS", self.root / "train", "train_blur, train_sharp, val_blur and val_sharp (60 GB, CC BY 4.0)",
                'Nah et al., "NTIRE 2019 Challenge on Video Deblurring and Super-Resolution"',
            )  # fmt: skip

    def train(self) -> list[Pair]:
        return [pair for pair in self._pairs("train") if pair.group not in self._validation]

    def val(self) -> list[Pair]:
        return [pair for pair in self._pairs("train") if pair.group in self._validation]

    def tests(self) -> dict[str, list[Pair]]:
        return {"reds": self._pairs("val")}

    def _pairs(self, split: str) -> list[Pair]:
        folder = self.root / split
        return match(folder / f"{split}_{self._blur}", folder / f"{split}_sharp") if folder.is_dir() else []
