"""The layout of the HIDE data set."""

from deblurlab.datasets.base import Pair, match, missing
from deblurlab.datasets.sets import PairSet, Store


class HIDE(PairSet):
    """HIDE (Shen et al., "Human-Aware Motion Deblurring", ICCV 2019): people in motion; a test set of 2025 pairs,
    `root/test/{input,target}/*.png`, as restoration projects pass it on.

    Raises:
        UserError: The data set isn't there, or an image has no twin.
    """

    published = {"test": 2025}

    def __init__(self, *, root: str, store: Store = "auto") -> None:
        super().__init__(root=root, store=store)

    def prepare(self) -> None:
        if not (self.root / "test").is_dir():
            raise missing(
                "HIDE", self.root / "test", "the test set of HIDE (4 GB) as test/input and test/target",
                'Shen et al., "Human-Aware Motion Deblurring"',
            )  # fmt: skip

    def tests(self) -> dict[str, list[Pair]]:
        return {"hide": match(self.root / "test" / "input", self.root / "test" / "target")}
