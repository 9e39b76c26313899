"""Restormer."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.models.base import Model
from deblurlab.models.blocks import ChannelNorm


class Restormer(Model):
    """A U-Net of transformer blocks that attend over channels instead of positions (Zamir et al., "Restormer", CVPR
    2022), as published for motion deblurring: layer norm with bias, convolutions without.

    Channels double with each of three halvings of the size, starting from `width`; `blocks` and `heads` go from the
    finest size to the coarsest, `refinement` blocks come last at full size, `expansion` widens the feed-forward layers.
    """

    multiple_of = 8
    published = (
        (r"(norm[12])\.body\.", r"\1."),
        (r"^(encoder|decoder)_level(\d)", r"\1.\2"),
        (r"^(down|up)(\d)_\d\.body\.0", r"\1.\2.0"),
        (r"^reduce_chan_level(\d)", r"reduce.\1"),
    )

    def __init__(
        self,
        *,
        width: int = 48,
        blocks: Sequence[int] = (4, 6, 6, 8),
        heads: Sequence[int] = (1, 2, 4, 8),
        refinement: int = 4,
        expansion: float = 2.66,
    ) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(4)]

        def stage(channels: int, level: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(TransformerBlock(channels, heads[level], expansion) for _ in range(count)))

        # Keys are levels, as the published names count them.
        self.patch_embed = nn.ModuleDict({"proj": _conv(3, width)})
        self.encoder = nn.ModuleDict({str(i + 1): stage(widths[i], i, blocks[i]) for i in range(3)})
        self.down = nn.ModuleDict(
            {str(i + 1): nn.Sequential(_conv(widths[i], widths[i] // 2), nn.PixelUnshuffle(2)) for i in range(3)}
        )
        self.latent = stage(widths[3], 3, blocks[3])
        self.up = nn.ModuleDict(
            {str(i + 1): nn.Sequential(_conv(widths[i], 2 * widths[i]), nn.PixelShuffle(2)) for i in (3, 2, 1)}
        )
        self.reduce = nn.ModuleDict({str(i + 1): _point(2 * widths[i], widths[i]) for i in (2, 1)})
        decoded = [2 * width, *widths[1:]]  # nothing reduces the channels of the finest level
        self.decoder = nn.ModuleDict({str(i + 1): stage(decoded[i], i, blocks[i]) for i in (2, 1, 0)})
        self.refinement = stage(decoded[0], 0, refinement)
        self.output = _conv(decoded[0], 3)

    def restore(self, blurred: Tensor) -> Tensor:
        x, skips = self.patch_embed["proj"](blurred), []
        for level in ("1", "2", "3"):
            x = self.encoder[level](x)
            skips.append(x)
            x = self.down[level](x)
        x = self.latent(x)
        for above, level in (("4", "3"), ("3", "2"), ("2", "1")):
            x = torch.cat([self.up[above](x), skips.pop()], dim=1)
            x = self.decoder[level](self.reduce[level](x) if level in self.reduce else x)
        return blurred + self.output(self.refinement(x))


class TransformerBlock(nn.Module):
    """Attention over channels, then a gated feed-forward layer, each normalised before and added to its input."""

    def __init__(self, channels: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.attn = ChannelAttention(channels, heads)
        self.norm2 = ChannelNorm(channels)
        self.ffn = GatedFeedForward(channels, int(channels * expansion))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class ChannelAttention(nn.Module):
    """Multi-Dconv head transposed attention (equation 1): the attention map is channels by channels, so its cost
    grows linearly with the image."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{heads} heads can't share {channels} channels evenly")
        self._heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = _point(channels, 3 * channels)
        self.qkv_dwconv = _depthwise(3 * channels)
        self.project_out = _point(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        # (B, 3C, H, W) -> three of (B, heads, C / heads, H W)
        query, key, value = self.qkv_dwconv(self.qkv(x)).flatten(2).unflatten(1, (3, self._heads, -1)).unbind(1)
        attention = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
        mixed = (attention * self.temperature).softmax(dim=-1) @ value
        return self.project_out(mixed.flatten(1, 2).unflatten(2, (height, width)))


class GatedFeedForward(nn.Module):
    """Gated-Dconv feed-forward network (equation 2)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.project_in = _point(channels, 2 * hidden)
        self.dwconv = _depthwise(2 * hidden)
        self.project_out = _point(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(F.gelu(a) * b)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def _point(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=False)


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
