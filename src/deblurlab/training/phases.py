"""A training step as a list of phases: who learns, from what, how often."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn


@dataclass
class Example:
    """A batch, or a part of one, on its way through the phases: `(B, 3, H, W)` in [0, 1]."""

    blurred: Tensor
    sharp: Tensor
    share: float
    """Of the batch."""
    pairs: tuple[Tensor, Tensor] | None = None
    """Blurred images and their sharp twins, where the two above aren't that."""
    made: dict[str, list[Tensor]] = field(default_factory=dict)
    """By what they are: images kept from the first phase that needed them, so that generators run once; coarse to fine,
    not clamped."""
    shown: dict[str, Any] = field(default_factory=dict)
    """What each discriminator sees in this step."""


Summands = dict[str, tuple[float, Tensor]]
"""Name -> (weight, value)."""


class Phase(NamedTuple):
    """One player's turn in a step."""

    networks: tuple[nn.Module, ...]
    optimizer: int
    """Position among the module's optimizers; the first one's steps are the run's steps."""
    updates: int
    """How often it learns from one batch."""
    loss: Callable[[Example], Summands]
    start: int = 0
    """The step from which on it takes part."""


def total(summands: Summands) -> Tensor:
    """The weighted sum of what carries a weight."""
    return sum((weight * value for weight, value in summands.values() if weight), start=0.0)  # type: ignore[return-value]


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """What is computed within gives the network's parameters no gradient; gradients still flow through it."""
    moved = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in moved:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in moved:
            parameter.requires_grad_(True)
