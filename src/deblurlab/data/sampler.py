"""Which samples make up a batch, as a pure function of (seed, epoch)."""

from collections.abc import Iterator
from itertools import cycle, islice

import numpy as np
from torch.utils.data import Sampler

Key = tuple[int, int]
"""(epoch, index)"""


class KeyedBatches(Sampler[list[Key]]):
    """Batches of keys for one of `world` processes.

    The global batch is the same however many processes share it: process `rank` takes every `world`-th of its
    samples. Training shuffles, and drops the rest that doesn't fill a batch. Evaluation keeps the order; where the
    processes' shares would differ in length the first samples come again, so whoever averages over images goes by
    their index.
    """

    def __init__(
        self, size: int, *, batch_size: int, shuffle: bool, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self._size, self._batch_size, self._shuffle = size, batch_size, shuffle
        self._seed, self._rank, self._world = seed, rank, world
        self._epoch = 0
        # Lightning calls set_epoch on `loader.batch_sampler.sampler`, not on a batch sampler itself.
        self.sampler = self

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return self._size // self._batch_size if self._shuffle else -(-self._size // self._batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        if self._shuffle:
            order = np.random.default_rng((self._seed, self._epoch)).permutation(self._size).tolist()
        else:
            order = list(islice(cycle(range(self._size)), len(self) * self._batch_size))
        for batch in range(len(self)):
            whole = order[batch * self._batch_size : (batch + 1) * self._batch_size]
            yield [(self._epoch, index) for index in whole[self._rank :: self._world]]
