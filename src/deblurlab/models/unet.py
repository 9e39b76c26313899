"""The plain U-Net, and the frame of its residual sister."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.models.base import Model
from deblurlab.models.blocks import Norm, PlainBlock, Upsample


class UNet(Model):
    """Encoder and decoder with skip connections (Ronneberger et al., MICCAI 2015): the paper's generator without its
    residual blocks.

    Images enter and leave in squares of `patch` x `patch` pixels, whose colours lie side by side as channels, so that
    all of the network works at that fraction of the size (Shi et al., "Real-Time Single Image and Video
    Super-Resolution", CVPR 2016, eq. 4, and its inverse). Channels double with each of `depth` halvings of the size,
    from `width` to at most `max_width`. `blocks` is the number of blocks per stage: one number, or one for each of the
    `depth + 1` sizes from the finest to the coarsest (the decoder mirrors the encoder). With `global_residual` the
    network learns what to add to the blurred image, and starts as the identity.

    Raises:
        ValueError: `blocks` has another length than `depth + 1`, `patch` is less than 1, `max_width` less than `width`, or
            `norm` is unknown.
    """

    block: ClassVar[type[nn.Module]] = PlainBlock

    def __init__(
        self,
        *,
        width: int = 32,
        depth: int = 3,
        blocks: int | Sequence[int] = 2,
        patch: int = 1,
        max_width: int | None = None,
        norm: Norm = "none",
        global_residual: bool = True,
    ) -> None:
        super().__init__()
        if patch < 1:
            raise ValueError(f"patch is {patch}: at least 1")
        if max_width is not None and max_width < width:
            raise ValueError(f"max_width is {max_width}: at least the width, {width}")
        counts = [blocks] * (depth + 1) if isinstance(blocks, int) else list(blocks)
        if len(counts) != depth + 1:
            raise ValueError(f"blocks has {len(counts)} numbers, a U-Net of depth {depth} has {depth + 1} stages")
        widths = [width * 2**i if max_width is None else min(width * 2**i, max_width) for i in range(depth + 1)]
        self.multiple_of = patch * 2**depth
        self.patch = patch
        self.global_residual = global_residual

        def stage(level: int) -> nn.Sequential:
            return nn.Sequential(*(self.block(widths[level], norm) for _ in range(counts[level])))

        levels = range(depth)
        self.stem = nn.Conv2d(3 * patch**2, width, 3, padding=1)
        self.encoder = nn.ModuleList(stage(i) for i in levels)
        self.down = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 3, stride=2, padding=1) for i in levels)
        self.bottom = stage(depth)
        self.up = nn.ModuleList(Upsample(widths[i + 1], widths[i]) for i in levels)
        self.merge = nn.ModuleList(nn.Conv2d(2 * widths[i], widths[i], 1) for i in levels)
        self.decoder = nn.ModuleList(stage(i) for i in levels)
        self.head = nn.Conv2d(width, 3 * patch**2, 3, padding=1)
        if global_residual:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def restore(self, blurred: Tensor) -> Tensor:
        x = self.stem(F.pixel_unshuffle(blurred, self.patch))
        skips = []
        for encode, down in zip(self.encoder, self.down, strict=True):
            x = encode(x)
            skips.append(x)
            x = down(x)
        x = self.bottom(x)
        for i in reversed(range(len(skips))):
            x = self.merge[i](torch.cat([self.up[i](x), skips[i]], dim=1))
            x = self.decoder[i](x)
        x = F.pixel_shuffle(self.head(x), self.patch)
        return blurred + x if self.global_residual else x
