"""Batch samplers: the same batches for any number of processes."""

from typing import Any

import numpy as np
import pytest

from deblurlab.dataloading import KeyedBatchSampler, SequentialBatchSampler, Stage


def _batches(sizes: list[int], *stages: tuple[int, int, int], **options: Any) -> KeyedBatchSampler:
    return KeyedBatchSampler(sizes, stages=[Stage(*stage) for stage in stages], **options)


def _indices(batches: KeyedBatchSampler, epoch: int) -> list[int]:
    return [index for batch in batches.from_step(epoch * len(batches)) for _, index, _ in batch]


def test_an_epoch_draws_every_sample_once_in_its_own_order() -> None:
    batches = _batches([10], (0, 32, 3), seed=1)
    orders = [_indices(batches, epoch) for epoch in (0, 1, 0)]
    assert len(set(orders[0])) == 9 == 3 * len(batches)  # the tenth doesn't fill a batch
    assert orders[0] == orders[2] != orders[1]
    assert {(epoch, size) for batch in batches.from_step(12) for epoch, _, size in batch} == {(4, 32)}


def test_processes_share_the_same_global_batches() -> None:
    alone = list(_batches([12], (0, 32, 4)))
    shares = [list(_batches([12], (0, 32, 4), rank=rank, world_size=2)) for rank in (0, 1)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert sorted(whole) == sorted(key for part in parts for key in part)
        assert [len(part) for part in parts] == [2, 2]


def test_crop_and_batch_size_change_with_the_training_step() -> None:
    """An epoch has four steps; the second stage begins at step 3, the third at step 6, in the second epoch."""
    batches = _batches([8], (6, 64, 3), (0, 16, 2), (3, 32, 1))
    seen = []
    for epoch in range(3):
        assert len(batches) == 4
        seen.append([(len(batch), {size for _, _, size in batch}) for batch in batches.from_step(4 * epoch)])
    assert seen[0] == [(2, {16}), (2, {16}), (2, {16}), (1, {32})]
    assert seen[1] == [(1, {32}), (1, {32}), (3, {64}), (3, {64})]
    assert seen[2] == [(3, {64})] * 4
    drawn = _indices(batches, 2)
    assert sorted(drawn[:8]) == list(range(8))  # each once before any is repeated
    assert set(drawn[8:]) <= set(range(8))


def test_parts_are_drawn_by_weight() -> None:
    batches = _batches([30, 70], (0, 32, 10), weights=[3.0, 1.0])
    drawn = [index for epoch in range(40) for index in _indices(batches, epoch)]
    assert np.mean([index < 30 for index in drawn]) == pytest.approx(0.75, abs=0.02)
    assert set(drawn) == set(range(100))
    once = _indices(batches, 0)
    first = [index for index in once if index < 30]
    assert sorted(first[:30]) == list(range(30))
    assert once == _indices(_batches([30, 70], (0, 32, 10), weights=[3.0, 1.0]), 0)


def test_evaluation_is_in_order_with_the_same_number_of_images_for_each_process() -> None:
    shares = [[batch[0][1] for batch in SequentialBatchSampler(5, rank=rank, world_size=2)] for rank in (0, 1)]
    assert shares == [[0, 2, 4], [1, 3, 0]]
    assert [len(SequentialBatchSampler(5, rank=rank, world_size=2)) for rank in (0, 1)] == [3, 3]
    assert list(SequentialBatchSampler(3)) == [[(0, 0, 0)], [(0, 1, 0)], [(0, 2, 0)]]
