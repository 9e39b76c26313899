"""What a discriminator remembers of earlier batches. Both kinds are in every checkpoint."""

from typing import Any

import torch
from torch import Tensor

from deblurlab.discriminators import DiscriminatorOutput


class ImagePool:
    """A pool of restored images from which the discriminator is shown half of what it sees, so that it doesn't forget
    what the generator used to make (Shrivastava et al., CVPR 2017, section 2.3; CycleGAN, Zhu et al., ICCV 2017,
    section 4).

    Until it holds `size` images, each is stored and shown. From then on each image is, with equal chance, shown
    itself or takes the place of a random one of the pool, which is shown instead. A pool of size 0 shows everything
    itself.
    """

    def __init__(self, size: int, *, seed: int = 0) -> None:
        self._size = size
        self._images: list[Tensor] = []
        self._random = torch.Generator().manual_seed(seed)

    def exchange(self, images: Tensor) -> Tensor:
        """`(B, C, H, W)` without gradient -> what is shown instead, of the same shape."""
        if not self._size:
            return images
        shown = []
        for image in images.nan_to_num(0, 0, 0):  # a bad one would come back again and again
            if len(self._images) < self._size:
                self._images.append(image.clone())
            elif torch.rand((), generator=self._random, dtype=torch.float32) < 0.5:  # the same at any precision
                place = int(torch.randint(self._size, (), generator=self._random))
                image, self._images[place] = self._images[place], image.clone()
            shown.append(image)
        return torch.stack(shown).to(memory_format=_format(images))

    def state_dict(self) -> dict[str, Any]:
        return {"images": [image.cpu() for image in self._images], "random": self._random.get_state()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        self._images = [image.to(device) for image in state["images"]]
        self._random.set_state(state["random"].cpu())


class History:
    """The mean logits of the last `size` batches, for objectives that compare with an average (DeblurGAN-v2's code
    keeps 50). Of size 0 it keeps nothing and changes no judgement."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._means: dict[str, list[Tensor]] = {"real": [], "fake": []}
        self._begun: dict[str, Tensor] = {}
        self._share = 0.0

    def add(self, *, real: DiscriminatorOutput, fake: DiscriminatorOutput, share: float = 1.0) -> None:
        """Remember a batch, or a `share` of one: shares that make up a whole are remembered as one batch."""
        for side, judgement in (("real", real), ("fake", fake)) if self._size else ():
            means = torch.stack([logits.detach().float().mean() for logits in judgement.logits]).nan_to_num(0, 0, 0)
            self._begun[side] = self._begun.get(side, 0) + share * means
        self._share += share
        if self._share > 1 - 1e-6:
            for side, latest in self._begun.items():
                self._means[side] = [*self._means[side], latest][-self._size :]
            self._begun, self._share = {}, 0.0

    def beside(self, side: str, judgement: DiscriminatorOutput) -> DiscriminatorOutput:
        """A judgement of a "real" or "fake" batch with the means of that side over all that is remembered."""
        if not self._means[side]:
            return judgement
        return judgement._replace(history=list(torch.stack(self._means[side]).mean(dim=0)))

    def state_dict(self) -> dict[str, Any]:
        return {side: [mean.cpu() for mean in means] for side, means in self._means.items()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        self._means = {side: [mean.to(device) for mean in means] for side, means in state.items()}


def _format(images: Tensor) -> torch.memory_format:
    return torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
