"""Training on several data sets."""

from collections.abc import Mapping, Sequence

from deblurlab.datasets.base import CompositeSet, ImageSet, Split
from deblurlab.datasets.listing import Item
from deblurlab.errors import UserError


class Mixed(CompositeSet):
    """Mixture of data sets: training pairs are drawn by weight, test sets stay separate.

    The validation set is the union of the validation sets. Names of training and validation pairs begin with the name
    of their data set.

    Args:
        sets: Data sets by name.
        weights: Sampling weight by name. A data set with weight 0 is validated and tested on only.

    Raises:
        UserError: Sets and weights have different names, or a weight is invalid; on use: a set with a weight lists no
            training pairs.
    """

    def __init__(self, *, sets: Mapping[str, ImageSet], weights: Mapping[str, float]) -> None:
        super().__init__(sets)
        if not sets or set(sets) != set(weights):
            raise UserError(
                f"data.sets ({', '.join(sets) or 'none'}) and data.weights ({', '.join(weights) or 'none'}) must have "
                f"the same names"
            )
        if min(weights.values()) < 0 or not any(weights.values()):
            raise UserError(f"data.weights={dict(weights)}: weights must be at least 0, and one of them above 0")
        self._weights = dict(weights)

    def parts(self) -> list[tuple[float, Sequence[Item]]]:
        """Return the training pairs of each data set with its weight."""
        found: list[tuple[float, Sequence[Item]]] = []
        for name, data in self._sources.items():
            if self._weights[name]:
                items = data.items("train")
                if not items or not all(item.references for item in items):
                    raise UserError(
                        f"data.weights.{name}={self._weights[name]}, but {name} lists no training pairs: set it to 0; "
                        f"unpaired and endless sets can't be mixed"
                    )
                found.append((self._weights[name], self.parts_of(name, items, prefix=f"{name}/")))
        return found

    def items(self, split: Split) -> list[Item]:
        """Return the training pairs of the data sets with a weight, or the pairs of another split of all of them."""
        if split == "train":
            return [item for _, items in self.parts() for item in items]
        if split == "test":
            return [item for items in self.tests().values() for item in items]
        sources = self._sources.items()
        return [item for name, data in sources for item in self.parts_of(name, data.items("val"), prefix=f"{name}/")]

    def tests(self) -> dict[str, Sequence[Item]]:
        """Return the test sets of all data sets; a name that occurs twice gets the data set's name as a prefix."""
        found: dict[str, Sequence[Item]] = {}
        for name, data in self._sources.items():
            for test, items in data.tests().items():
                found[test if test not in found else f"{name}_{test}"] = self.parts_of(name, items)
        return found
