"""REDS data set."""

from collections.abc import Sequence

from deblurlab.datasets.base import FileSet, Split, Store
from deblurlab.datasets.listing import Item, Pair, match_pairs, missing_error


class REDS(FileSet):
    """REDS (Nah et al., "NTIRE 2019 Challenge on Video Deblurring and Super-Resolution", CVPR Workshops 2019).

    240 training clips and 30 validation clips of 100 frames, 1280x720, CC BY 4.0:
    `root/{train,val}/{train,val}_{blur,sharp}/<clip>/*.png`. The official validation clips are the test set, because
    the references of the official test clips aren't public.

    Args:
        root: Folder that contains `train` and `val`.
        blur: "blur", or "blur_comp" with video compression.
        validation: Training clips that are held out; by default REDS4, the four clips that video restoration models
            aren't trained on.
        store: As for `FileSet`.

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

    def items(self, split: Split) -> list[Pair]:
        """Return the pairs of a split; "val" are held-out training clips, "test" the official validation clips."""
        if split == "test":
            return self._pairs("val")
        return [pair for pair in self._pairs("train") if (pair.group in self._validation) == (split == "val")]

    def tests(self) -> dict[str, Sequence[Item]]:
        """Return the test set "reds"."""
        return {"reds": self.items("test")}

    def _pairs(self, split: str) -> list[Pair]:
        folder = self.root / split
        return match_pairs(folder / f"{split}_{self._blur}", folder / f"{split}_sharp") if folder.is_dir() else []
