"""DeblurGAN-v2's feature pyramid; its backbones have files of their own."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.models.base import Model
from deblurlab.models.blocks import Norm, convolution, normalisation

Padding = tuple[int, int]


class FPN(Model):
    """Five maps of a backbone, from half the size to a 32nd, merged from the coarsest up and read by four heads
    (Kupyn et al., "DeblurGAN-v2", ICCV 2019, section 3.1). The result is added to the blurred image, through tanh.

    A subclass has the `backbone` and says what comes out of it. Images are taken to [-1, 1] inside. Instance norm uses
    each image's own statistics, in evaluation too; a backbone's batch norm uses the learnt ones, while the original
    took those of the image at hand. The sum isn't clamped, while the original's was.
    """

    multiple_of = 32
    channels: ClassVar[Sequence[int]]
    """Of the backbone's five maps, from the finest to the coarsest."""
    padding: ClassVar[Sequence[Padding]] = ((0, 0),) * 5
    """What each map lacks on its (upper and left, lower and right) sides; it is reflected."""

    backbone: nn.Module

    def __init__(self, *, pyramid: int, width: int, norm: Norm = "instance") -> None:
        super().__init__()
        widths = [width, *[pyramid] * 4]
        self.lateral = nn.ModuleList(nn.Conv2d(c, w, 1, bias=False) for c, w in zip(self.channels, widths, strict=True))
        self.td = nn.ModuleDict({str(i): _layer(pyramid, pyramid, norm) for i in (1, 2, 3)})
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(pyramid, width, 3, padding=1, bias=False),
                nn.ReLU(inplace=True),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.ReLU(inplace=True),
            )
            for _ in range(4)
        )
        self.smooth = _layer(4 * width, width, norm)
        self.smooth2 = _layer(width, width // 2, norm)
        self.final = convolution(width // 2, 3)

    @abstractmethod
    def maps(self, image: Tensor) -> list[Tensor]:
        """The backbone's five maps, from the finest to the coarsest; `image` is in [-1, 1]."""

    def restore(self, blurred: Tensor) -> Tensor:
        image = 2 * blurred - 1
        found = zip(self.maps(image), self.lateral, self.padding, strict=True)
        finest, *maps = [F.pad(lateral(m), (a, b, a, b), "reflect") for m, lateral, (a, b) in found]
        for step, i in enumerate((2, 1, 0), start=1):
            maps[i] = self.td[str(step)](maps[i] + _enlarged(maps[i + 1], 2))
        read = [_enlarged(head(m), 2**i) for i, (head, m) in enumerate(zip(self.heads, maps, strict=True))]
        x = _enlarged(self.smooth(torch.cat(read[::-1], dim=1)), 2)
        x = self.final(_enlarged(self.smooth2(x + finest), 2))
        return (image + x.tanh() + 1) / 2


def renamings(backbone: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Renamings of the original state dicts, with those of a backbone."""
    return [
        (r"^fpn\.enc\d\..*", ""),  # the backbone once more
        (r"^(fpn\.td\d|smooth2?)\.\d\.(running_mean|running_var|num_batches_tracked)$", ""),
        *backbone,
        (r"^fpn\.td(\d)", r"td.\1"),
        (r"^fpn\.lateral(\d)", r"lateral.\1"),
        *((rf"^head{i + 1}\.block{j}", f"heads.{i}.{2 * j}") for i in range(4) for j in (0, 1)),
    ]


def _layer(inputs: int, outputs: int, norm: Norm) -> nn.Sequential:
    # The bias stays on beside the norm, as in the original.
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), normalisation(norm, outputs), nn.ReLU(inplace=True))


def _enlarged(x: Tensor, factor: int) -> Tensor:
    return x if factor == 1 else F.interpolate(x, scale_factor=float(factor))
