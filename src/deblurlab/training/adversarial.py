"""Adversarial training state: what one discriminator needs beyond its weights."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deblurlab.discriminators import DiscriminatorOutput, as_discriminator
from deblurlab.losses import AdversarialLoss


class DiscriminatorInput(NamedTuple):
    """An image and its condition, `(B, 3, H, W)` each in [0, 1], as a discriminator takes them."""

    image: Tensor
    condition: Tensor
    """Image at the other end of the generator: its input for a generated image. Conditional discriminators use it."""


class AdversarialState:
    """Adversarial training state of one discriminator: image pool, logit history, accuracy.

    The weights belong to the discriminator, which the training module owns.

    Args:
        discriminator: Network that this state belongs to; any module, see `as_discriminator`.
        losses: Adversarial losses that train it.
        pool: Capacity of the image pool; 0 disables it.
        history: Number of batches whose mean logits relativistic losses compare with; 0 uses the current batch.
    """

    def __init__(self, discriminator: nn.Module, losses: Iterable[AdversarialLoss], *, pool: int, history: int) -> None:
        self.discriminator = as_discriminator(discriminator)
        self._boundary = next((loss.boundary for loss in losses if loss.boundary is not None), None)
        self.pool, self.history = ImagePool(pool), History(history)
        self._latest: tuple[list[Tensor], list[Tensor]] | None = None
        """Logits of the latest batch's real and fake images."""

    @property
    def accuracy(self) -> Tensor | None:
        """Share of the latest batch's logits on the correct side of the boundary; None without a boundary."""
        if self._latest is None or self._boundary is None:
            return None
        correct = [logits > self._boundary for logits in self._latest[0]]
        correct += [logits < self._boundary for logits in self._latest[1]]
        return torch.cat([each.flatten() for each in correct]).float().mean()

    def exchange(self, fake: DiscriminatorInput) -> DiscriminatorInput:
        """Detach generated images and exchange some of them, with their conditions, for images of the pool."""
        if not self.pool.size:
            return DiscriminatorInput(fake.image.detach(), fake.condition.detach())
        images = torch.cat([fake.image.detach(), fake.condition.detach()], dim=1)
        return DiscriminatorInput(*self.pool.exchange(images).chunk(2, dim=1))

    def record(self, real: DiscriminatorOutput, fake: DiscriminatorOutput, *, share: float) -> None:
        """Add the outputs for a `share` of a batch to the history and keep its logits for the accuracy."""
        self.history.add(real=real, fake=fake, share=share)
        self._latest = [x.detach() for x in real.logits], [x.detach() for x in fake.logits]

    def state_dict(self) -> dict[str, Any]:
        """Return pool and history as plain data."""
        return {"pool": self.pool.state_dict(), "history": self.history.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Load pool and history onto a device."""
        self.pool.load_state_dict(state["pool"], device)
        self.history.load_state_dict(state["history"], device)


class ImagePool:
    """Pool of earlier generated images (Shrivastava et al., CVPR 2017, section 2.3; CycleGAN, ICCV 2017, section 4).

    Until it holds `size` images, each image is stored and returned. Afterwards each image is, with probability 1/2,
    returned itself or swapped with a random image of the pool. A pool of size 0 returns its input. The discriminator
    thus also sees images of earlier generators, which stabilises its training.
    """

    def __init__(self, size: int, *, seed: int = 0) -> None:
        self.size = size
        self._images: list[Tensor] = []
        self._random = torch.Generator().manual_seed(seed)

    def reset(self, seed: int) -> None:
        """Empty the pool and seed its random numbers."""
        self._images = []
        self._random.manual_seed(seed)

    def exchange(self, images: Tensor) -> Tensor:
        """Exchange some of the images, `(B, C, H, W)` without gradient, for stored ones of the same shape."""
        if not self.size:
            return images
        exchanged = []
        for image in images.nan_to_num(0, 0, 0):  # a non-finite image would return in later batches
            if len(self._images) < self.size:
                self._images.append(image.clone())
            elif torch.rand((), generator=self._random, dtype=torch.float32) < 0.5:  # the same draw at any precision
                place = int(torch.randint(self.size, (), generator=self._random))
                image, self._images[place] = self._images[place], image.clone()
            exchanged.append(image)
        return torch.stack(exchanged).to(memory_format=_memory_format(images))

    def state_dict(self) -> dict[str, Any]:
        """Return images and random state as plain data."""
        return {"images": [image.cpu() for image in self._images], "random": self._random.get_state()}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Load images onto a device, and the random state."""
        self._images = [image.to(device) for image in state["images"]]
        self._random.set_state(state["random"].cpu())


class History:
    """Mean logits of the last `size` batches, for relativistic losses (DeblurGAN-v2's released code keeps 50).

    A history of size 0 keeps nothing and leaves outputs unchanged.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._means: dict[str, list[Tensor]] = {"real": [], "fake": []}
        self._partial: dict[str, Tensor] = {}
        self._share = 0.0

    def add(self, *, real: DiscriminatorOutput, fake: DiscriminatorOutput, share: float = 1.0) -> None:
        """Add a batch, or a `share` of one: shares that sum to 1 are stored as one batch."""
        for side, output in (("real", real), ("fake", fake)) if self._size else ():
            means = torch.stack([logits.detach().float().mean() for logits in output.logits]).nan_to_num(0, 0, 0)
            self._partial[side] = self._partial.get(side, 0) + share * means
        self._share += share
        if self._share > 1 - 1e-6:
            for side, latest in self._partial.items():
                self._means[side] = [*self._means[side], latest][-self._size :]
            self._partial, self._share = {}, 0.0

    def attach(self, side: str, output: DiscriminatorOutput) -> DiscriminatorOutput:
        """Return an output on a "real" or "fake" batch with the mean logits of that side over the history."""
        if not self._means[side]:
            return output
        return output._replace(history=list(torch.stack(self._means[side]).mean(dim=0)))

    def state_dict(self) -> dict[str, Any]:
        """Return the mean logits by side."""
        return {side: [mean.cpu() for mean in means] for side, means in self._means.items()}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Load the mean logits onto a device."""
        self._means = {side: [mean.to(device) for mean in means] for side, means in state.items()}


def _memory_format(images: Tensor) -> torch.memory_format:
    return torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
