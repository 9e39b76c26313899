"""What every generator shares: any image size."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn


class Model(nn.Module, ABC):
    """A network blurred -> restored for images of any size from `min_size` up.

    A subclass writes `restore`, which may rely on sides that are multiples of `multiple_of`; padding to that, by
    reflection, and cropping back happen here and nowhere else. Images are `(B, 3, H, W)` RGB in [0, 1]; a network
    that wants another range converts inside `restore`. What comes out is not clamped.
    """

    multiple_of: int = 1
    min_size: ClassVar[int] = 1

    @abstractmethod
    def restore(self, blurred: Tensor) -> Tensor:
        """Restore a batch whose sides are multiples of `multiple_of`; same shape."""

    def forward(self, blurred: Tensor) -> Tensor:
        height, width = blurred.shape[-2:]
        down, right = -height % self.multiple_of, -width % self.multiple_of
        if not (down or right):
            return self.restore(blurred)
        # Reflection needs an image larger than the padding; a smaller one repeats its edge for the rest.
        reflected = F.pad(blurred, (0, min(right, width - 1), 0, min(down, height - 1)), "reflect")
        missing = height + down - reflected.shape[-2], width + right - reflected.shape[-1]
        padded = F.pad(reflected, (0, missing[1], 0, missing[0]), "replicate")
        return self.restore(padded)[..., :height, :width]
