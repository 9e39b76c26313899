"""A backbone that learns later."""

import torch
from torch import Tensor, nn

from deblurlab.callbacks import FreezeBackbone
from deblurlab.losses import L1
from steps import BATCHES, fit, module, same, state


class WithBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, blurred: Tensor) -> Tensor:
        return self.head(self.backbone(blurred))


def test_it_stays_as_it_is_for_so_many_epochs_and_then_learns() -> None:
    epoch = len(BATCHES)
    for steps, learnt in ((epoch, False), (epoch + 1, True)):
        torch.manual_seed(0)
        generator = WithBackbone()
        backbone, head = state(generator.backbone), state(generator.head)
        fit(module({"l1": L1()}, generator=generator), steps, FreezeBackbone(epochs=1))
        assert same(backbone, state(generator.backbone)) is not learnt
        assert not same(head, state(generator.head))


def test_a_generator_without_one_is_left_alone() -> None:
    trained, plain = module({"l1": L1()}), module({"l1": L1()})
    fit(trained, 2, FreezeBackbone(epochs=1)), fit(plain, 2)
    assert same(state(trained.generator), state(plain.generator))
