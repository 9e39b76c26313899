"""Restormer (Zamir et al., CVPR 2022)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.models.base import Model, Provenance
from deblurlab.models.blocks import LayerNorm2d


class Restormer(Model):
    """U-Net of transformer blocks with attention over channels.

    Zamir et al., "Restormer: Efficient Transformer for High-Resolution Image Restoration", CVPR 2022, section 3, in the
    variant published for motion deblurring: layer norm with bias, convolutions without. 26,126,644 parameters.

    Channels double with each of three halvings of the size, starting from `width`. `blocks` and `heads` are given per
    size, fine to coarse; `refinement` blocks follow at full size; `expansion` is the ratio of the hidden channels of
    the feed-forward layers.
    """

    provenance = (
        Provenance(
            title="Restormer, CVPR 2022",
            paper="https://arxiv.org/abs/2111.09881",
            code="https://github.com/swz30/Restormer",
            licence="Academic Public, non-commercial",
            gopro="32.92 / 0.961 (paper)",
        ),
    )
    small_arguments = {"width": 16, "blocks": [1, 1, 1, 1], "refinement": 1}
    multiple_of = 8
    key_renamings = (
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

        # Dictionary keys are levels, numbered as in the original keys.
        self.patch_embed = nn.ModuleDict({"proj": _conv(3, width)})
        self.encoder = nn.ModuleDict({str(i + 1): stage(widths[i], i, blocks[i]) for i in range(3)})
        self.down = nn.ModuleDict(
            {str(i + 1): nn.Sequential(_conv(widths[i], widths[i] // 2), nn.PixelUnshuffle(2)) for i in range(3)}
        )
        self.latent = stage(widths[3], 3, blocks[3])
        self.up = nn.ModuleDict(
            {str(i + 1): nn.Sequential(_conv(widths[i], 2 * widths[i]), nn.PixelShuffle(2)) for i in (3, 2, 1)}
        )
        self.reduce = nn.ModuleDict({str(i + 1): _pointwise(2 * widths[i], widths[i]) for i in (2, 1)})
        decoder_widths = [2 * width, *widths[1:]]  # the finest level has no reducing convolution
        self.decoder = nn.ModuleDict({str(i + 1): stage(decoder_widths[i], i, blocks[i]) for i in (2, 1, 0)})
        self.refinement = stage(decoder_widths[0], 0, refinement)
        self.output = _conv(decoder_widths[0], 3)

    def restore(self, blurred: Tensor) -> Tensor:
        """Return image + residual."""
        x, skips = self.patch_embed["proj"](blurred), []
        for level in ("1", "2", "3"):
            x = self.encoder[level](x)
            skips.append(x)
            x = self.down[level](x)
        x = self.latent(x)
        for coarser, level in (("4", "3"), ("3", "2"), ("2", "1")):
            x = torch.cat([self.up[coarser](x), skips.pop()], dim=1)
            x = self.decoder[level](self.reduce[level](x) if level in self.reduce else x)
        return blurred + self.output(self.refinement(x))


class TransformerBlock(nn.Module):
    """Residual channel attention, then a residual gated feed-forward layer, both with layer norm before them."""

    def __init__(self, channels: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(channels)
        self.attn = ChannelAttention(channels, heads)
        self.norm2 = LayerNorm2d(channels)
        self.ffn = GatedFeedForward(channels, int(channels * expansion))

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class ChannelAttention(nn.Module):
    """Multi-Dconv head transposed attention (equation 1).

    The attention map is channels x channels, so the cost grows linearly with the number of pixels.

    Raises:
        ValueError: `channels` isn't divisible by `heads`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels is {channels}: it must be divisible by heads, {heads}")
        self._heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = _pointwise(channels, 3 * channels)
        self.qkv_dwconv = _depthwise(3 * channels)
        self.project_out = _pointwise(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        height, width = x.shape[-2:]
        # (B, 3C, H, W) -> three of (B, heads, C / heads, H W)
        query, key, value = self.qkv_dwconv(self.qkv(x)).flatten(2).unflatten(1, (3, self._heads, -1)).unbind(1)
        attention = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
        attended = (attention * self.temperature).softmax(dim=-1) @ value
        return self.project_out(attended.flatten(1, 2).unflatten(2, (height, width)))


class GatedFeedForward(nn.Module):
    """Gated-Dconv feed-forward network (equation 2)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.project_in = _pointwise(channels, 2 * hidden)
        self.dwconv = _depthwise(2 * hidden)
        self.project_out = _pointwise(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        a, b = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(F.gelu(a) * b)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def _pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=False)


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
