"""Training on several data sets."""

from collections.abc import Mapping
from pathlib import Path

from deblurlab.datasets.base import PairSet, merge_files
from deblurlab.datasets.frame_store import Reader
from deblurlab.datasets.listing import Pair
from deblurlab.errors import UserError


class Mixed(PairSet):
    """Mixture of data sets: training pairs are drawn by weight, test sets stay separate.

    The validation set is the union of the validation sets. Names of training and validation pairs begin with the name
    of their data set.

    Args:
        sets: Data sets by name.
        weights: Sampling weight by name. A data set with weight 0 is validated and tested on only.

    Raises:
        UserError: Sets and weights have different names, a weight is invalid, or a set with a weight has no training
            pairs.
    """

    def __init__(self, *, sets: Mapping[str, PairSet], weights: Mapping[str, float]) -> None:
        super().__init__(root=".", store="off")
        if not sets or set(sets) != set(weights):
            raise UserError(
                f"data.sets ({', '.join(sets) or 'none'}) and data.weights ({', '.join(weights) or 'none'}) must have "
                f"the same names"
            )
        if min(weights.values()) < 0 or not any(weights.values()):
            raise UserError(f"data.weights={dict(weights)}: weights must be at least 0, and one of them above 0")
        for name, data in sets.items():
            if not data.lists_pairs:
                raise UserError(
                    f"data.sets.{name}: only sets that list pairs can be mixed, not unpaired or endless ones"
                )
        self._sets, self._weights = dict(sets), dict(weights)

    def prepare(self) -> None:
        """Prepare each data set."""
        for data in self._sets.values():
            data.prepare()

    def parts(self) -> list[tuple[float, list[Pair]]]:
        """Return the training pairs of each data set with its weight."""
        found = []
        for name, data in self._sets.items():
            if self._weights[name]:
                pairs = _prefixed(name, data.train())
                if not pairs:
                    raise UserError(
                        f"data.weights.{name}={self._weights[name]}, but {name} has no training pairs: set it to 0"
                    )
                found.append((self._weights[name], pairs))
        return found

    def train(self) -> list[Pair]:
        """Return the training pairs of all data sets with a weight."""
        return [pair for _, pairs in self.parts() for pair in pairs]

    def val(self) -> list[Pair]:
        """Return the validation pairs of all data sets."""
        return [pair for name, data in self._sets.items() for pair in _prefixed(name, data.val())]

    def tests(self) -> dict[str, list[Pair]]:
        """Return the test sets of all data sets; a name that occurs twice gets the data set's name as a prefix."""
        found: dict[str, list[Pair]] = {}
        for name, data in self._sets.items():
            for test, pairs in data.tests().items():
                found[test if test not in found else f"{name}_{test}"] = pairs
        return found

    @property
    def on_disk(self) -> bool:
        """Whether the images of all data sets are files on disk."""
        return all(data.on_disk for data in self._sets.values())

    def frame_store_files(self) -> dict[Path, list[Path]]:
        """Return the image files to pack of all data sets."""
        return merge_files(data.frame_store_files() for data in self._sets.values())

    def readers(self) -> dict[Path, Reader]:
        """Return the readers of all data sets."""
        return {root: reader for data in self._sets.values() for root, reader in data.readers().items()}


def _prefixed(name: str, pairs: list[Pair]) -> list[Pair]:
    return [pair._replace(name=f"{name}/{pair.name}") for pair in pairs]
