"""Batch samplers whose batches are a pure function of (seed, step)."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count, islice
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from deblurlab.datasets.samples import Key


class Stage(NamedTuple):
    """Crop size and batch size from a training step on."""

    step: int
    """First step of the stage."""
    size: int
    """Side of the crops in pixels."""
    batch_size: int
    """Number of samples of a batch over all processes."""


class KeyedBatchSampler(Sampler[list[Key]]):
    """Distributed batch sampler that shuffles, draws from parts of a data set by weight, and resumes at any step.

    Every sample of a part is drawn once before any is drawn again. An epoch has as many batches as batches of the first
    stage fit into the data set; the last incomplete batch is dropped. Later stages keep the number of batches. The
    global batch doesn't depend on the number of processes: process `rank` gets every `world_size`-th of its samples.

    Args:
        sizes: Number of samples of each part; the parts follow one another in the data set.
        stages: Crop size and batch size by training step. The first stage begins at step 0.
        weights: Sampling weight of each part.
        seed: Seed of the order.
        rank: Number of this process.
        world_size: Number of processes.
        step: Returns the current training step. It is called when an epoch begins, so a resumed training continues
            with the next batch of the epoch.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        stages: Sequence[Stage],
        weights: Sequence[float] = (1.0,),
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        step: Callable[[], int] = int,
    ) -> None:
        self._sizes, self._stages = list(sizes), sorted(stages)
        self._weights = np.array(weights) / sum(weights)
        self._seed, self._rank, self._world_size = seed, rank, world_size
        self._step = step

    def __len__(self) -> int:
        return sum(self._sizes) // self._stages[0].batch_size

    def __iter__(self) -> Iterator[list[Key]]:
        return self.from_step(self._step())

    def from_step(self, step: int) -> Iterator[list[Key]]:
        """Return the batches from this step on, as many as an epoch has."""
        epoch, done = divmod(step, len(self))
        batches = chain.from_iterable(map(self._batches, count(epoch)))
        return islice(batches, done, done + len(self))

    def _batches(self, epoch: int) -> Iterator[list[Key]]:
        stages = [self._stage(epoch * len(self) + i) for i in range(len(self))]
        order = self._order(epoch, sum(stage.batch_size for stage in stages))
        for stage in stages:
            global_batch = list(islice(order, stage.batch_size))
            yield [(epoch, index, stage.size) for index in global_batch[self._rank :: self._world_size]]

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


class SequentialBatchSampler(Sampler[list[Key]]):
    """Distributed batch sampler for evaluation: batches of one sample, in order, without crops.

    All processes get the same number of batches. The first samples are repeated if the number of samples isn't a
    multiple of `world_size`, so averages must identify samples by their index.

    Args:
        size: Number of samples.
        rank: Number of this process.
        world_size: Number of processes.
    """

    def __init__(self, size: int, *, rank: int = 0, world_size: int = 1) -> None:
        self._size, self._rank, self._world_size = size, rank, world_size

    def __len__(self) -> int:
        return -(-self._size // self._world_size)

    def __iter__(self) -> Iterator[list[Key]]:
        for i in range(len(self)):
            yield [(0, (i * self._world_size + self._rank) % self._size, 0)]


def _shuffled(rng: np.random.Generator, size: int, count: int) -> Iterator[int]:
    """Yield `count` indices below `size`, in a new random order each time all indices have been used."""
    rounds = [rng.permutation(size) for _ in range(-(-count // size))]
    yield from np.concatenate(rounds)[:count].tolist() if rounds else ()
