"""HIDE data set."""

from collections.abc import Sequence

from deblurlab.datasets.base import FileSet, Split, Store
from deblurlab.datasets.listing import Item, Pair, match_pairs, missing_error


class HIDE(FileSet):
    """HIDE (Shen, Wang, Lu, Shen, Ling, Xu and Shao, "Human-Aware Motion Deblurring", ICCV 2019).

    A test set of 2025 pairs with moving people: `root/test/{input,target}/*.png`, the layout in which restoration
    projects distribute it.

    Raises:
        UserError: The data set is missing, or an image has no counterpart.
    """

    published = {"test": 2025}

    def __init__(self, *, root: str, store: Store = "auto") -> None:
        super().__init__(root=root, store=store)

    def prepare(self) -> None:
        """Check that the data set exists."""
        if not (self.root / "test").is_dir():
            raise missing_error(
                "HIDE",
                self.root / "test",
                "the test set of HIDE (4 GB) as test/input and test/target",
                "https://github.com/joanshen0508/HA_deblur",
            )

    def items(self, split: Split) -> list[Pair]:
        """Return the test pairs; there are no others."""
        if split != "test":
            return []
        return match_pairs(self.root / "test" / "input", self.root / "test" / "target")

    def tests(self) -> dict[str, Sequence[Item]]:
        """Return the test set "hide"."""
        return {"hide": self.items("test")}
