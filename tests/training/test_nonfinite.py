"""A step whose numbers have gone wrong leaves no trace."""

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
from deblurlab.training.nonfinite import Held, Update
from steps import BATCHES, adam, fit, module, same, sgd, state


def _lion(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(parameters, lr=1e-3, momentum=0.9)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e30])
@pytest.mark.parametrize("make", [adam, sgd, _lion])
@pytest.mark.parametrize("first", [True, False])
def test_held_back_on_the_device_or_not_taken_at_all_is_the_same(
    make: Callable[[Any], torch.optim.Optimizer], bad: float, first: bool
) -> None:
    """A GPU's way, which here works on the processor, against an optimizer that passes over the step."""
    torch.manual_seed(0)
    networks = [nn.Conv2d(3, 4, 3), copy.deepcopy(nn.Conv2d(3, 4, 3))]
    networks[1].load_state_dict(networks[0].state_dict())
    optimizers = [make(network.parameters()) for network in networks]
    for step in range(4):
        for device, network, optimizer in zip((True, False), networks, optimizers, strict=True):
            optimizer.zero_grad()
            network(torch.ones(1, 3, 8, 8)).square().sum().backward()
            if spoilt := step == (0 if first else 2):
                network.weight.grad[0, 0, 0, 0] = bad
            update = Update(optimizer, nn.utils.get_total_norm([p.grad for p in network.parameters()]))
            if device and not any(p.grad is None for p in network.parameters()):
                update.hold()
            elif device and spoilt:  # what Update has taken away
                for p in network.parameters():
                    p.grad = torch.full_like(p, bad)
                update.hold()
            assert bool(update.taken) != spoilt
            optimizer.step()
            update.finish()
    assert same(state(networks[0]), state(networks[1]))
    assert networks[0].weight.isfinite().all()


def test_tensors_of_any_kind_come_back_bit_for_bit() -> None:
    tensors = [
        torch.randn(3, 4, 5, 6).to(memory_format=torch.channels_last),
        torch.randn(7, dtype=torch.float64),
        torch.randn(7).bfloat16(),
        torch.tensor(-0.0),
        torch.arange(5),
    ]
    before = [tensor.clone() for tensor in tensors]
    for good in (True, False):
        held = Held(tensors)
        after = [torch.full_like(t, 3 if t.dtype == torch.int64 else torch.nan) for t in tensors]
        for tensor, value in zip(tensors, after, strict=True):
            tensor.copy_(value)
        held.keep(torch.tensor(good))
        for tensor, value in zip(tensors, after if good else before, strict=True):
            assert torch.equal(tensor.nan_to_num(9), value.nan_to_num(9))
            assert torch.equal(tensor.signbit(), value.signbit())
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)


class Poison(L1):
    """Not a number in the third step, whose gradient is an honest one."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.calls, self._value = 0, value

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(restored, sharp) + (self._value if self.calls == 3 else 0)


class Note(pl.Callback):
    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.seen: list[list[str]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: object) -> None:
        self.states.append(state(pl_module))
        self.seen.append([name for name, bad in pl_module.nonfinite.items() if bad])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_no_number_changes_nothing_and_is_named(value: float) -> None:
    note = Note()
    trained = module({"l1": Poison(value)}, generator=UNetRes(width=4, depth=1, blocks=1, norm="batch"))
    fit(trained, 5, note)
    assert same(note.states[1], note.states[2] | _counters(note.states[1]))
    assert not same(note.states[2], note.states[3])
    assert note.seen == [[], [], ["loss/l1", "gradient/generator"], [], []]


def _counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not value.is_floating_point()}


def test_a_batch_that_is_passed_over_is_as_if_it_had_never_been() -> None:
    poisoned, spared = module({"l1": Poison(torch.nan)}), module({"l1": L1()})
    fit(poisoned, 6)
    fit(spared, 5, loader=DataLoader(BATCHES[:2] + BATCHES[3:], batch_size=None))  # type: ignore[arg-type]
    assert same(state(poisoned.generator), state(spared.generator))


def test_a_spoilt_image_does_not_stay_in_the_discriminators_memory() -> None:
    class Spoilt(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            weight = pl_module.generator.head.weight
            if batch_idx == 2:
                self._kept = weight.detach().clone()
                weight.data.fill_(torch.nan)

        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
            if args[-1] == 2:
                pl_module.generator.head.weight.data.copy_(self._kept)

    trained = module({"l1": L1(), "adv": Adv()}, image_pool=3, history=4)
    note = Note()
    fit(trained, 6, Spoilt(), note)
    assert note.seen[2]
    assert not any(note.seen[3:])
    assert all(value.isfinite().all() for value in state(trained).values())
