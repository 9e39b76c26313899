"""Feature pyramid network of DeblurGAN-v2 (Kupyn et al., ICCV 2019), without its backbone."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.models.base import Model
from deblurlab.models.blocks import ImageBatchNorm2d, Norm, convolution, normalisation


class FPN(Model):
    """Feature pyramid network on five feature maps of a backbone, from 1/2 to 1/32 of the image's size.

    Kupyn et al., "DeblurGAN-v2: Deblurring (Orders-of-Magnitude) Faster and Better", ICCV 2019, section 3.1. The maps
    are merged from coarse to fine and read by four heads. The output is tanh(residual) + image, in [-1, 1] inside.
    A subclass sets `channels` and `backbone` and implements `feature_maps`.

    The published code restores in training mode: with `batch_statistics`, batch norm uses the statistics of each image
    in evaluation mode, instead of running ones. Instance norm uses those of each image in both modes.
    The code pads every side n with mid-grey to (n // 32 + 1) * 32, which are `padding` "grey" and `always_pad`. It
    clamps the output, which isn't done here.
    """

    multiple_of = 32
    original_arguments = {"batch_statistics": True, "padding": "grey", "always_pad": True}
    channels: ClassVar[Sequence[int]]
    """Channels of the backbone's five feature maps, fine to coarse."""
    map_padding: ClassVar[Sequence[tuple[int, int]]] = ((0, 0),) * 5
    """Reflection padding (top and left, bottom and right) that brings each map to its nominal size."""

    backbone: nn.Module

    def __init__(self, *, pyramid: int, width: int, norm: Norm, batch_statistics: bool) -> None:
        super().__init__()
        self._batch_statistics = batch_statistics
        if batch_statistics:
            self.min_size = max(self.min_size, 2 * self.multiple_of)  # one pixel has no variance
        widths = [width, *[pyramid] * 4]
        self.lateral = nn.ModuleList(nn.Conv2d(c, w, 1, bias=False) for c, w in zip(self.channels, widths, strict=True))
        self.td = nn.ModuleDict({str(i): _conv_norm_relu(pyramid, pyramid, norm) for i in (1, 2, 3)})
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(pyramid, width, 3, padding=1, bias=False),
                nn.ReLU(inplace=True),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.ReLU(inplace=True),
            )
            for _ in range(4)
        )
        self.smooth = _conv_norm_relu(4 * width, width, norm)
        self.smooth2 = _conv_norm_relu(width, width // 2, norm)
        self.final = convolution(width // 2, 3)

    def set_backbone(self, backbone: nn.Module) -> None:
        """Set the backbone, and the statistics that batch norm uses, at the end of the constructor."""
        self.backbone = backbone
        for name, layer in list(self.named_modules()):
            if self._batch_statistics and isinstance(layer, nn.BatchNorm2d):
                self.set_submodule(name, ImageBatchNorm2d(layer))

    @abstractmethod
    def feature_maps(self, image: Tensor) -> list[Tensor]:
        """Return the backbone's five feature maps, fine to coarse, of images in [-1, 1]."""

    def restore(self, blurred: Tensor) -> Tensor:
        """Return image + tanh(residual), converted to [-1, 1] and back."""
        image = 2 * blurred - 1
        levels = zip(self.feature_maps(image), self.lateral, self.map_padding, strict=True)
        finest, *maps = [F.pad(lateral(m), (a, b, a, b), "reflect") for m, lateral, (a, b) in levels]
        for step, i in enumerate((2, 1, 0), start=1):
            maps[i] = self.td[str(step)](maps[i] + _upsample(maps[i + 1], 2))
        outputs = [_upsample(head(m), 2**i) for i, (head, m) in enumerate(zip(self.heads, maps, strict=True))]
        x = _upsample(self.smooth(torch.cat(outputs[::-1], dim=1)), 2)
        x = self.final(_upsample(self.smooth2(x + finest), 2))
        return (image + x.tanh() + 1) / 2


def fpn_key_renamings(backbone: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the key renamings of DeblurGAN-v2's state dicts, including those of a backbone."""
    return [
        (r"^fpn\.enc\d\..*", ""),  # a second copy of the backbone
        (r"^(fpn\.td\d|smooth2?)\.\d\.(running_mean|running_var|num_batches_tracked)$", ""),
        *backbone,
        (r"^fpn\.td(\d)", r"td.\1"),
        (r"^fpn\.lateral(\d)", r"lateral.\1"),
        *((rf"^head{i + 1}\.block{j}", f"heads.{i}.{2 * j}") for i in range(4) for j in (0, 1)),
    ]


def _conv_norm_relu(inputs: int, outputs: int, norm: Norm) -> nn.Sequential:
    # The convolution keeps its bias although a norm follows, as in the published code.
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), normalisation(norm, outputs), nn.ReLU(inplace=True))


def _upsample(x: Tensor, factor: int) -> Tensor:
    """Upsample by an integer factor, nearest neighbour."""
    return x if factor == 1 else F.interpolate(x, scale_factor=float(factor))
