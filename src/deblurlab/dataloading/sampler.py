"""Which samples make up a batch, as a pure function of (seed, step)."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count, islice
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

Key = tuple[int, int, int]
"""(epoch, index, side of the crop)"""


class Stage(NamedTuple):
    """Crops and batches from a step of the training on."""

    step: int
    size: int
    """Side of the crops."""
    batch_size: int


class KeyedBatches(Sampler[list[Key]]):
    """Shuffled batches of keys for one of `world` processes.

    The samples are those of one or more sets that follow one another, of `sizes` samples; with several, each draw
    is from one of them by `weights`. Every sample of a set comes once before any comes again.

    An epoch has as many batches as the first stage's fit into all samples; what doesn't fill a batch is left out.
    Later stages keep that number, so that a step is the same place in every training, and draw as much as their
    batches need. The global batch is the same however many processes share it: process `rank` takes every `world`-th
    of its samples.

    Batches are a function of the step. `step` is asked for it whenever an epoch begins, so a training that is resumed
    in the midst of one goes on with the very next batch.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        stages: Sequence[Stage],
        weights: Sequence[float] = (1.0,),
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        step: Callable[[], int] = int,
    ) -> None:
        self._sizes, self._stages = list(sizes), sorted(stages)
        self._weights = np.array(weights) / sum(weights)
        self._seed, self._rank, self._world = seed, rank, world
        self._step = step

    def __len__(self) -> int:
        return sum(self._sizes) // self._stages[0].batch_size

    def __iter__(self) -> Iterator[list[Key]]:
        return self.at(self._step())

    def at(self, step: int) -> Iterator[list[Key]]:
        """The batches from this step on, as many as an epoch has."""
        epoch, done = divmod(step, len(self))
        batches = chain.from_iterable(map(self._batches, count(epoch)))
        return islice(batches, done, done + len(self))

    def _batches(self, epoch: int) -> Iterator[list[Key]]:
        stages = [self._stage(epoch * len(self) + i) for i in range(len(self))]
        order = self._order(epoch, sum(stage.batch_size for stage in stages))
        for stage in stages:
            whole = list(islice(order, stage.batch_size))
            yield [(epoch, index, stage.size) for index in whole[self._rank :: self._world]]

    def _stage(self, step: int) -> Stage:
        return [stage for stage in self._stages if stage.step <= step][-1]

    def _order(self, epoch: int, count: int) -> Iterator[int]:
        rng = np.random.default_rng((self._seed, epoch))
        if len(self._sizes) == 1:
            yield from _shuffled(rng, self._sizes[0], count)
            return
        chosen = rng.choice(len(self._sizes), count, p=self._weights)
        starts = np.cumsum([0, *self._sizes])
        streams = [_shuffled(rng, n, int((chosen == i).sum())) for i, n in enumerate(self._sizes)]
        for i in chosen.tolist():
            yield int(starts[i]) + next(streams[i])


class OrderedBatches(Sampler[list[Key]]):
    """One sample after the other, shared by the processes: each batch is one sample of each.

    Where the processes' shares would differ in length the first samples come again, so whoever averages over images
    goes by their index.
    """

    def __init__(self, size: int, *, rank: int = 0, world: int = 1) -> None:
        self._size, self._rank, self._world = size, rank, world

    def __len__(self) -> int:
        return -(-self._size // self._world)

    def __iter__(self) -> Iterator[list[Key]]:
        for i in range(len(self)):
            yield [(0, (i * self._world + self._rank) % self._size, 0)]


def _shuffled(rng: np.random.Generator, size: int, count: int) -> Iterator[int]:
    """`count` of `size` numbers: all in random order, then all again in another, as often as it takes."""
    rounds = [rng.permutation(size) for _ in range(-(-count // size))]
    yield from np.concatenate(rounds)[:count].tolist() if rounds else ()
