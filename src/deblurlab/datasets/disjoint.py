"""A data set of pairs without its pairs."""

from itertools import accumulate, groupby

from deblurlab.datasets.base import Pair, Single
from deblurlab.datasets.sets import PairSet, Splits
from deblurlab.datasets.unpaired import Side, Unpaired
from deblurlab.errors import UserError


class Disjoint(Unpaired):
    """The blurred images of one half of another set's training pairs, and the sharp ones of the other half: no scene is
    on both sides. Whole groups (sequences, clips) go to one side where there are several, else the pairs are halved in
    their order. It is validated and tested on the other set's pairs, so that what is learnt without pairs can be
    measured.

    Args:
        of: The other set.
        pairs: As for `Unpaired`.

    Raises:
        UserError: The other set has no pairs on disk; on reading: fewer than two.
    """

    def __init__(self, *, of: PairSet, pairs: Side | None = None) -> None:
        if not of.listed:
            raise UserError("data.of has no pairs that could be halved: they are made without end, or lie in shards")
        super().__init__(blurred=of, sharp=of, pairs=pairs)
        self._of = of

    def images(self, side: str) -> list[Single]:
        first, second = self._halves()
        return [Single(pair.name, getattr(pair, side)) for pair in (first if side == "blurred" else second)]

    def val(self) -> list[Pair]:
        return self._of.val()

    def tests(self) -> dict[str, list[Pair]]:
        return self._of.tests()

    def splits(self) -> Splits:
        return {
            **super().splits(),
            "val": self.val(),
            **{f"test/{name}": pairs for name, pairs in self.tests().items()},
        }

    def _halves(self) -> tuple[list[Pair], list[Pair]]:
        pairs = self._of.train()
        if len(pairs) < 2:
            raise UserError(f"data.of has {len(pairs)} training pairs, and each side needs one at least")
        ends = list(accumulate(len(list(group)) for _, group in groupby(pairs, lambda pair: pair.group)))
        middle = min(ends[:-1], key=lambda end: abs(2 * end - len(pairs))) if len(ends) > 1 else len(pairs) // 2
        return pairs[:middle], pairs[middle:]
