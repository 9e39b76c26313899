"""Several data sets in one training."""

from collections.abc import Mapping
from pathlib import Path

from deblurlab.datasets.base import Pair
from deblurlab.datasets.frame_store import Reader
from deblurlab.datasets.sets import PairSet, merged
from deblurlab.errors import UserError


class Mixed(PairSet):
    """Draws each training pair from one of several `sets` by their `weights`, validates on all of theirs, and tests
    on each apart. Names of pairs begin with that of their set.

    Raises:
        UserError: Sets and weights have different names, or a set with a weight has nothing to train on.
    """

    def __init__(self, *, sets: Mapping[str, PairSet], weights: Mapping[str, float]) -> None:
        super().__init__(root=".", store="off")
        if not sets or set(sets) != set(weights):
            raise UserError(
                f"data.sets ({', '.join(sets) or 'none'}) and data.weights ({', '.join(weights) or 'none'}) name "
                f"different sets"
            )
        if min(weights.values()) < 0 or not any(weights.values()):
            raise UserError(f"data.weights={dict(weights)}: shares are at least 0, and not all of them")
        for name, data in sets.items():
            if not data.listed:
                raise UserError(
                    f"data.sets.{name}: only sets that list pairs can be mixed, not unpaired or endless ones"
                )
        self._sets, self._weights = dict(sets), dict(weights)

    def prepare(self) -> None:
        for data in self._sets.values():
            data.prepare()

    def parts(self) -> list[tuple[float, list[Pair]]]:
        found = []
        for name, data in self._sets.items():
            if self._weights[name]:
                pairs = _named(name, data.train())
                if not pairs:
                    raise UserError(f"data.weights.{name}={self._weights[name]}, and {name} has nothing to train on")
                found.append((self._weights[name], pairs))
        return found

    def train(self) -> list[Pair]:
        return [pair for _, pairs in self.parts() for pair in pairs]

    def val(self) -> list[Pair]:
        return [pair for name, data in self._sets.items() for pair in _named(name, data.val())]

    def tests(self) -> dict[str, list[Pair]]:
        found: dict[str, list[Pair]] = {}
        for name, data in self._sets.items():
            for test, pairs in data.tests().items():
                found[test if test not in found else f"{name}_{test}"] = pairs
        return found

    @property
    def on_disk(self) -> bool:
        return all(data.on_disk for data in self._sets.values())

    def stores(self) -> dict[Path, list[Path]]:
        return merged(data.stores() for data in self._sets.values())

    def readers(self) -> dict[Path, Reader]:
        return {root: reader for data in self._sets.values() for root, reader in data.readers().items()}


def _named(name: str, pairs: list[Pair]) -> list[Pair]:
    return [pair._replace(name=f"{name}/{pair.name}") for pair in pairs]
