"""A discriminator's part in the game."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deblurlab.discriminators import Discriminator, DiscriminatorOutput
from deblurlab.losses import AdversarialLoss, DiscriminatorLoss
from deblurlab.training.memory import History, ImagePool
from deblurlab.training.phases import Summands, frozen


class Seen(NamedTuple):
    """What a discriminator is shown: `(B, 3, H, W)` each."""

    image: Tensor
    beside: Tensor
    """What the image was or would be made from, for discriminators that look at it too."""


class Adversary:
    """A discriminator, the terms that need it, and what it remembers of earlier batches.

    Args:
        discriminator: Belongs to the module, which has it trained and stored.
        terms: Loss terms by name; those that aren't judged are none of its business.
        pool: Made images kept, from which it is shown half of what it learns from.
        history: Batches over which objectives that compare with an average take it.
    """

    def __init__(
        self, discriminator: Discriminator, terms: Mapping[str, nn.Module], *, pool: int, history: int
    ) -> None:
        self.discriminator = discriminator
        self._teachers = {name: term for name, term in terms.items() if isinstance(term, AdversarialLoss)}
        self._needs_real = any(
            term.generator_needs_real for term in terms.values() if isinstance(term, DiscriminatorLoss)
        )
        self._size = pool
        self._pool, self._history = ImagePool(pool), History(history)
        self.accuracy: Tensor | None = None
        """Share of the latest batch's logits on the right side of the boundary, where an objective has one."""

    def seed(self, seed: int) -> None:
        """Begin with an empty pool."""
        self._pool = ImagePool(self._size, seed=seed)

    def show(self, fake: Seen) -> Seen:
        """What the discriminator is shown instead of what has been made."""
        return Seen(*self._pool.exchange(torch.cat([fake.image.detach(), fake.beside.detach()], dim=1)).chunk(2, dim=1))

    def losses(self, real: Seen, fake: Seen, *, remember: float | None) -> Summands:
        """What the discriminator minimises. `remember`: the share of a batch that this is; None if it has been seen
        before."""
        judged, judged_fake = self.discriminator(*real), self.discriminator(*fake)
        if remember is not None:
            self._history.add(real=judged, fake=judged_fake, share=remember)
            self.accuracy = self._measured(judged, judged_fake)
        judged, judged_fake = self._history.beside("real", judged), self._history.beside("fake", judged_fake)
        summands: Summands = {}
        for name, term in self._teachers.items():
            summands[f"discriminator_{name}"] = 1.0, term.discriminator_loss(judged, judged_fake)
            penalty = term.penalty(self.discriminator, real.image, fake.image, fake.beside)
            if penalty is not None:
                summands[f"discriminator_{name}_penalty"] = 1.0, penalty
        return summands

    @torch.no_grad()
    def _measured(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor | None:
        boundaries = [term.boundary for term in self._teachers.values() if term.boundary is not None]
        if not boundaries:
            return None
        right = [logits > boundaries[0] for logits in real.logits] + [logits < boundaries[0] for logits in fake.logits]
        return torch.cat([each.flatten() for each in right]).float().mean()

    def judge(self, real: Seen, fake: Seen) -> tuple[DiscriminatorOutput | None, DiscriminatorOutput]:
        """Its judgements of real images, if some term looks at them, and of made ones, for those who make them."""
        with frozen(self.discriminator):
            judged_fake = self.discriminator(*fake)
        judged = None
        if self._needs_real:
            with torch.no_grad():
                judged = self._history.beside("real", self.discriminator(*real))
        return judged, self._history.beside("fake", judged_fake)

    def state_dict(self) -> dict[str, Any]:
        return {"pool": self._pool.state_dict(), "history": self._history.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        self._pool.load_state_dict(state["pool"], device)
        self._history.load_state_dict(state["history"], device)
