"""A step with a non-finite loss or gradient has no effect."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from deblurlab.losses import L1, Adv
from deblurlab.models import UNetRes
from deblurlab.training.nonfinite import GuardedStep, Snapshot
from steps import BATCHES, adam, fit, module, same, sgd, state


def _rmsprop(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(parameters, lr=1e-3, momentum=0.9)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e30])
@pytest.mark.parametrize("make", [adam, sgd, _rmsprop])
@pytest.mark.parametrize("first", [True, False])
def test_restoring_on_the_device_equals_skipping_the_step(
    make: Callable[[Any], torch.optim.Optimizer], bad: float, first: bool
) -> None:
    """The GPU's code path, run on the CPU, against an optimizer that skips the step."""
    torch.manual_seed(0)
    networks = [nn.Conv2d(3, 4, 3), copy.deepcopy(nn.Conv2d(3, 4, 3))]
    networks[1].load_state_dict(networks[0].state_dict())
    optimizers = [make(network.parameters()) for network in networks]
    for step in range(4):
        for device, network, optimizer in zip((True, False), networks, optimizers, strict=True):
            optimizer.zero_grad()
            network(torch.ones(1, 3, 8, 8)).square().sum().backward()
            if invalid := step == (0 if first else 2):
                network.weight.grad[0, 0, 0, 0] = bad
            update = GuardedStep(optimizer, nn.utils.get_total_norm([p.grad for p in network.parameters()]))
            if device and not any(p.grad is None for p in network.parameters()):
                update.take_snapshot()
            elif device and invalid:  # what GuardedStep has removed
                for p in network.parameters():
                    p.grad = torch.full_like(p, bad)
                update.take_snapshot()
            assert bool(update.valid) != invalid
            optimizer.step()
            update.finish()
    assert same(state(networks[0]), state(networks[1]))
    assert networks[0].weight.isfinite().all()


def test_a_snapshot_restores_tensors_of_any_type_bit_for_bit() -> None:
    tensors = [
        torch.randn(3, 4, 5, 6).to(memory_format=torch.channels_last),
        torch.randn(7, dtype=torch.float64),
        torch.randn(7).bfloat16(),
        torch.tensor(-0.0),
        torch.arange(5),
    ]
    before = [tensor.clone() for tensor in tensors]
    for good in (True, False):
        snapshot = Snapshot(tensors)
        after = [torch.full_like(t, 3 if t.dtype == torch.int64 else torch.nan) for t in tensors]
        for tensor, value in zip(tensors, after, strict=True):
            tensor.copy_(value)
        snapshot.restore_unless(torch.tensor(good))
        for tensor, value in zip(tensors, after if good else before, strict=True):
            assert torch.equal(tensor.nan_to_num(9), value.nan_to_num(9))
            assert torch.equal(tensor.signbit(), value.signbit())
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)


class Poison(L1):
    """L1 that is non-finite in the third step, with a finite gradient."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.calls, self._value = 0, value

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(restored, sharp) + (self._value if self.calls == 3 else 0)


class Recorder(pl.Callback):
    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.seen: list[list[str]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: object) -> None:
        self.states.append(state(pl_module))
        self.seen.append([name for name, bad in pl_module.nonfinite.items() if bad])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_non_finite_loss_changes_nothing_and_is_named(value: float) -> None:
    recorder = Recorder()
    trained = module({"l1": Poison(value)}, generator=UNetRes(width=4, depth=1, blocks=1, norm="batch"))
    fit(trained, 5, recorder)
    assert same(recorder.states[1], recorder.states[2] | _counters(recorder.states[1]))
    assert not same(recorder.states[2], recorder.states[3])
    assert recorder.seen == [[], [], ["loss/l1", "gradient/generator"], [], []]


def _counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not value.is_floating_point()}


def test_a_skipped_batch_has_no_effect_on_later_steps() -> None:
    poisoned, clean = module({"l1": Poison(torch.nan)}), module({"l1": L1()})
    fit(poisoned, 6)
    fit(clean, 5, loader=DataLoader(BATCHES[:2] + BATCHES[3:], batch_size=None))  # type: ignore[arg-type]
    assert same(state(poisoned.generator), state(clean.generator))


def test_a_non_finite_image_does_not_stay_in_pool_or_history() -> None:
    class Corrupt(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            weight = pl_module.generator.head.weight
            if batch_idx == 2:
                self._kept = weight.detach().clone()
                weight.data.fill_(torch.nan)

        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
            if args[-1] == 2:
                pl_module.generator.head.weight.data.copy_(self._kept)

    trained = module({"l1": L1(), "adv": Adv()}, image_pool=3, history=4)
    recorder = Recorder()
    fit(trained, 6, Corrupt(), recorder)
    assert recorder.seen[2]
    assert not any(recorder.seen[3:])
    assert all(value.isfinite().all() for value in state(trained).values())
