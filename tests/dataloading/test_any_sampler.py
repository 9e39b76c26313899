"""Property tests of KeyedBatchSampler: any parts, any number of processes, any step."""

from collections import Counter
from itertools import chain, islice
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deblurlab.dataloading.sampler import KeyedBatchSampler, Stage
from deblurlab.datasets.samples import Key


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Draw valid arguments of `KeyedBatchSampler`."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    world = draw(st.integers(1, min(4, sum(sizes))))
    first = world * draw(st.integers(1, sum(sizes) // world))
    later = st.builds(Stage, st.integers(1, 30), st.integers(1, 9), st.integers(1, 5).map(lambda n: n * world))
    return {
        "sizes": sizes,
        "weights": [draw(st.floats(0.1, 10)) for _ in sizes],
        "stages": draw(st.permutations([Stage(0, 16, first), *draw(st.lists(later, max_size=3))])),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "world_size": world,
    }


def _from_the_start(batches: KeyedBatchSampler, count: int) -> list[list[Key]]:
    epochs = (batches.from_step(len(batches) * epoch) for epoch in range(count // len(batches) + 1))
    return list(islice(chain.from_iterable(epochs), count))


@given(plans(), st.integers(0, 40))
def test_resumed_batches_equal_those_of_an_uninterrupted_training(plan: dict[str, Any], step: int) -> None:
    batches = KeyedBatchSampler(**plan)
    whole = _from_the_start(batches, step + len(batches))
    assert list(KeyedBatchSampler(**plan, step=lambda: step)) == whole[step:]


@given(plans(), st.integers(0, 40))
def test_each_batch_is_divided_evenly_among_the_processes(plan: dict[str, Any], step: int) -> None:
    whole = KeyedBatchSampler(**{**plan, "world_size": 1}).from_step(step)
    shares = [KeyedBatchSampler(**plan, rank=rank).from_step(step) for rank in range(plan["world_size"])]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert Counter(batch) == Counter(chain.from_iterable(parts))
        assert len({len(part) for part in parts}) == 1


@given(plans(), st.integers(0, 3))
def test_each_batch_has_its_stage_and_each_part_is_drawn_completely_before_it_repeats(
    plan: dict[str, Any], epoch: int
) -> None:
    batches = KeyedBatchSampler(**{**plan, "world_size": 1})
    drawn = []
    for step, batch in enumerate(batches.from_step(epoch * len(batches)), epoch * len(batches)):
        begun = max(stage.step for stage in plan["stages"] if stage.step <= step)
        found = len(batch), {key[2] for key in batch}
        assert found in [(stage.batch_size, {stage.size}) for stage in plan["stages"] if stage.step == begun]
        drawn += [index for _, index, _ in batch]
    end = 0
    for size in plan["sizes"]:
        start, end = end, end + size
        of_set = [index for index in drawn if start <= index < end]
        assert all(len({*of_set[at : at + size]}) == len(of_set[at : at + size]) for at in range(0, len(of_set), size))
    assert all(0 <= index < end for index in drawn)
