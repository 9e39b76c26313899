"""What every generator shares: any image size, one scale or several."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

Renaming = tuple[str, str | Callable[[re.Match[str]], str]]
"""A regular expression and its replacement, as `re.sub` takes them."""

Restored = Tensor | list[Tensor]
"""Restored images `(B, 3, H, W)`, or the same at several scales, coarse to fine."""


class Model(nn.Module, ABC):
    """A network blurred -> restored for images of any size.

    A subclass writes `restore`, which may rely on sides that are multiples of `multiple_of` and at least `min_size`
    (itself such a multiple); padding to that, by reflection, and cropping back happen here and nowhere else. Images
    are `(B, 3, H, W)` RGB in [0, 1]; a network that wants another range converts inside `restore`. What comes out is
    not clamped. A model that restores at several scales gives all of them while training, coarse to fine, and the
    finest alone otherwise.
    """

    multiple_of: int = 1
    min_size: int = 1
    published: ClassVar[Sequence[Renaming]] = ()
    """From the names in the original project's state dict to ours, applied in this order to each of them. What becomes
    empty is dropped: weights that its forward pass never uses."""

    @abstractmethod
    def restore(self, blurred: Tensor) -> Restored:
        """Restore a batch whose sides are multiples of `multiple_of`; same shape."""

    def forward(self, blurred: Tensor) -> Restored:
        height, width = blurred.shape[-2:]
        down, right = (
            max(self.min_size, -(-side // self.multiple_of) * self.multiple_of) - side for side in (height, width)
        )
        if not (down or right):
            return self.restore(blurred)
        # Reflection needs an image larger than the padding; a smaller one repeats its edge for the rest.
        reflected = F.pad(blurred, (0, min(right, width - 1), 0, min(down, height - 1)), "reflect")
        missing = height + down - reflected.shape[-2], width + right - reflected.shape[-1]
        padded = F.pad(reflected, (0, missing[1], 0, missing[0]), "replicate")
        restored = self.restore(padded)
        if isinstance(restored, Tensor):
            return restored[..., :height, :width]
        shrink = [(height + down) // scale.shape[-2] for scale in restored]
        return [scale[..., : -(-height // n), : -(-width // n)] for scale, n in zip(restored, shrink, strict=True)]
