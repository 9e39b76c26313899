"""U-Net (Ronneberger et al., MICCAI 2015) with double convolutions."""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.models.base import Model, Provenance
from deblurlab.models.blocks import DoubleConv, Norm, Upsample


class UNet(Model):
    """Encoder and decoder with skip connections (Ronneberger et al., "U-Net", MICCAI 2015).

    The ablation of the residual U-Net of this project's reference method (docs/method.md): double convolutions in place
    of residual blocks. Subclasses replace `block`. 4,730,211 parameters.

    Args:
        width: Channels at the finest size; they double with each halving of the size.
        depth: Number of halvings of the size.
        blocks: Blocks per stage: one number, or one for each of the `depth + 1` sizes, fine to coarse. The decoder has
            as many as the encoder.
        patch: Side of the pixel unshuffle at the input and the pixel shuffle at the output (Shi et al., "Real-Time
            Single Image and Video Super-Resolution", CVPR 2016, equation 4): the whole network works at 1/`patch` of
            the size.
        max_width: Maximum number of channels; None for no maximum.
        norm: Normalisation inside the blocks.
        global_residual: The network predicts the residual, which is added to the blurred image; it starts at zero.

    Raises:
        ValueError: `blocks` has a length other than `depth + 1`, `patch` is less than 1, `max_width` is less than
            `width`, or `norm` is unknown.
    """

    provenance: ClassVar[Sequence[Provenance]] = (
        Provenance(title="U-Net, MICCAI 2015; ablation of `unet_res`", paper="https://arxiv.org/abs/1505.04597"),
    )
    small_arguments = {"width": 4, "depth": 1, "blocks": 1}
    block: ClassVar[type[nn.Module]] = DoubleConv

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
            raise ValueError(f"patch is {patch}: it must be at least 1")
        if max_width is not None and max_width < width:
            raise ValueError(f"max_width is {max_width}: it must be at least width, {width}")
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
        """Return image + residual, or the network's output without `global_residual`."""
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
