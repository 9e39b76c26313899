"""Optimizers that torch doesn't have."""

import sys

import pytest
import torch
from torch import nn

from deblurlab.errors import UserError
from deblurlab.training.optimizers import lion


def test_lion_by_hand() -> None:
    """Two steps of algorithm 2; in the second one the momentum decides the first sign."""
    pytest.importorskip("timm")
    weight = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = lion([weight], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)
    expected, momentum = weight.detach().clone(), torch.zeros(2, dtype=torch.float64)
    for gradient in (torch.tensor([1.0, -3.0]), torch.tensor([-0.05, 2.0])):
        weight.grad = gradient.double()
        optimizer.step()
        expected = (1 - 0.1 * 0.5) * expected - 0.1 * (0.9 * momentum + 0.1 * gradient).sign()
        momentum = 0.99 * momentum + 0.01 * gradient
        torch.testing.assert_close(weight.detach(), expected)


def test_lion_without_timm_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm.optim.lion", None)
    with pytest.raises(UserError, match=r"optimizer=lion needs timm: pip install 'deblurlab\[timm\]'"):
        lion([nn.Parameter(torch.zeros(1))], lr=0.1, betas=(0.9, 0.99), weight_decay=0.0)
