"""HIDE data set."""

from deblurlab.datasets.base import PairSet, Store
from deblurlab.datasets.listing import Pair, match_pairs, missing_error


class HIDE(PairSet):
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

    def tests(self) -> dict[str, list[Pair]]:
        """Return the test set "hide"."""
        return {"hide": match_pairs(self.root / "test" / "input", self.root / "test" / "target")}
