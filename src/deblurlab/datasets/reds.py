"""REDS data set."""

from collections.abc import Sequence

from deblurlab.datasets.base import PairSet, Store
from deblurlab.datasets.listing import Pair, match_pairs, missing_error


class REDS(PairSet):
    """REDS (Nah et al., "NTIRE 2019 Challenge on Video Deblurring and Super-Resolution", CVPR Workshops 2019).

    240 training clips and 30 validation clips of 100 frames, 1280x720, CC BY 4.0:
    `root/{train,val}/{train,val}_{blur,sharp}/<clip>/*.png`. The official validation clips are the test set, because
    the references of the official test clips aren't public.

    Args:
        root: Folder that contains `train` and `val`.
        blur: "blur", or "blur_comp" with video compression.
        validation: Training clips that are held out; by default REDS4, the four clips that video restoration models
            aren't trained on.
        store: As for `PairSet`.

    Raises:
        UserError: The data set is missing, or a frame has no counterpart.
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
        """Check that the data set exists."""
        if not any((self.root / split).is_dir() for split in ("train", "val")):
            raise missing_error(
                "REDS",
                self.root / "train",
                "train_blur, train_sharp, val_blur and val_sharp (60 GB)",
                "https://seungjunnah.github.io/Datasets/reds",
            )

    def train(self) -> list[Pair]:
        """Return the training pairs."""
        return [pair for pair in self._pairs("train") if pair.group not in self._validation]

    def val(self) -> list[Pair]:
        """Return the pairs of the held-out training clips."""
        return [pair for pair in self._pairs("train") if pair.group in self._validation]

    def tests(self) -> dict[str, list[Pair]]:
        """Return the test set "reds", the official validation clips."""
        return {"reds": self._pairs("val")}

    def _pairs(self, split: str) -> list[Pair]:
        folder = self.root / split
        return match_pairs(folder / f"{split}_{self._blur}", folder / f"{split}_sharp") if folder.is_dir() else []
