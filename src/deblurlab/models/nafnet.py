"""NAFNet (Chen et al., ECCV 2022)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.models.base import Model, Provenance
from deblurlab.models.blocks import LayerNorm2d

_ORIGIN = Provenance(
    title="NAFNet, ECCV 2022",
    paper="https://arxiv.org/abs/2204.04676",
    code="https://github.com/megvii-research/NAFNet",
)


class NAFNet(Model):
    """U-Net without nonlinear activation functions.

    Chen et al., "Simple Baselines for Image Restoration", ECCV 2022, section 4. Channels double with each halving of
    the size, starting from `width`; `encoder` (fine to coarse), `middle` and `decoder` (coarse to fine) are the numbers
    of blocks per size. 17,111,907 parameters with `width` 32, 67,888,835 with 64. With `patch` above 1, which the
    publication doesn't have, the whole network works at 1/`patch` of the size, on a pixel unshuffle.

    In evaluation mode the channel attention averages over windows of `window` pixels of the image instead of the whole
    image (test-time local converter; Chu et al., "Improving Image Restoration by Revisiting Global Information
    Aggregation", ECCV 2022). The published window is 1.5 times the training crop; None averages over the whole image.

    The published code pads images with zeros to a multiple of 16, which is `padding` "zeros".

    Raises:
        ValueError: `encoder` and `decoder` differ in length, `patch` is less than 1, or `window` is too small for the
            coarsest size.
    """

    provenance = (
        _ORIGIN._replace(
            licence="MIT", gopro="32.87 / 0.9606 (README)", arguments={"width": 32, "encoder": [1, 1, 1, 28]}
        ),
        _ORIGIN._replace(
            licence="MIT", gopro="33.71 / 0.9668 (README)", arguments={"width": 64, "encoder": [1, 1, 1, 28]}
        ),
        _ORIGIN,
    )
    original_arguments = {"padding": "zeros"}
    small_arguments = {"width": 4, "encoder": [1, 1, 1, 2]}

    def __init__(
        self,
        *,
        width: int = 32,
        encoder: Sequence[int] = (1, 1, 1, 28),
        middle: int = 1,
        decoder: Sequence[int] = (1, 1, 1, 1),
        window: int | None = 384,
        patch: int = 1,
    ) -> None:
        super().__init__()
        depth = len(encoder)
        if patch < 1:
            raise ValueError(f"patch is {patch}: it must be at least 1")
        if len(decoder) != depth:
            raise ValueError(f"encoder has {depth} stages and decoder {len(decoder)}: they must have the same number")
        if window is not None and window < patch * 2**depth:
            raise ValueError(
                f"window is {window}: it must be at least {patch * 2**depth}, a pixel at the coarsest size"
            )
        widths = [width * 2**i for i in range(depth + 1)]
        self.multiple_of = patch * 2**depth
        self.patch = patch

        def stage(level: int, blocks: int) -> nn.Sequential:
            level_window = None if window is None else window // patch >> level
            return nn.Sequential(*(NAFBlock(widths[level], level_window) for _ in range(blocks)))

        def up(level: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(widths[level], 2 * widths[level], 1, bias=False), nn.PixelShuffle(2))

        decoder_levels = range(depth - 1, -1, -1)
        self.intro = nn.Conv2d(3 * patch**2, width, 3, padding=1)
        self.encoders = nn.ModuleList(stage(i, encoder[i]) for i in range(depth))
        self.downs = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 2, stride=2) for i in range(depth))
        self.middle_blks = stage(depth, middle)
        self.ups = nn.ModuleList(up(i + 1) for i in decoder_levels)
        self.decoders = nn.ModuleList(stage(i, n) for i, n in zip(decoder_levels, decoder, strict=True))
        self.ending = nn.Conv2d(width, 3 * patch**2, 3, padding=1)

    def restore(self, blurred: Tensor) -> Tensor:
        """Return image + residual."""
        x, skips = self.intro(F.pixel_unshuffle(blurred, self.patch)), []
        for encode, down in zip(self.encoders, self.downs, strict=True):
            x = encode(x)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        for up, decode in zip(self.ups, self.decoders, strict=True):
            x = decode(up(x) + skips.pop())
        return blurred + F.pixel_shuffle(self.ending(x), self.patch)


class NAFBlock(nn.Module):
    """Gated depthwise convolution with simplified channel attention, then a gated feed-forward layer (section 4).

    Both parts are residual and scaled by `beta` and `gamma`, which start at 0.
    """

    def __init__(self, channels: int, window: int | None) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(channels, eps=1e-6)
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.sca = nn.Sequential(LocalMean(window), nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.norm2 = LayerNorm2d(channels, eps=1e-6)
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        y = _gate(self.conv2(self.conv1(self.norm1(x))))
        x = x + self.conv3(y * self.sca(y)) * self.beta
        return x + self.conv5(_gate(self.conv4(self.norm2(x)))) * self.gamma


class LocalMean(nn.Module):
    """Mean over the image, `(B, C, 1, 1)`, or over local windows, `(B, C, H, W)`.

    Local windows are used in evaluation mode for images larger than `window`. The window of a pixel near the border is
    the nearest one that fits into the image.
    """

    def __init__(self, window: int | None) -> None:
        super().__init__()
        self._window = window

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of every channel."""
        if self.training or self._window is None:
            return x.mean(dim=(2, 3), keepdim=True)
        if not torch.compiler.is_exporting() and self._window >= max(x.shape[-2:]):
            return x.mean(dim=(2, 3), keepdim=True)
        # Python's min would make torch.export specialise on the size of the example image.
        height, width = (torch.sym_min(self._window, size) for size in x.shape[-2:])
        return _local_mean(_local_mean(x, 2, height), 3, width)


def _local_mean(x: Tensor, dim: int, window: int | torch.SymInt) -> Tensor:
    """Return the mean over a window along one dimension, from differences of cumulative sums in float32 at least."""
    sums = x.to(torch.promote_types(x.dtype, torch.float32)).cumsum(dim)
    sums = torch.cat([torch.zeros_like(sums.narrow(dim, 0, 1)), sums], dim)
    size = x.shape[dim]
    start = (torch.arange(size, device=x.device) - (window - 1) // 2).clamp(0, size - window)
    difference = sums.index_select(dim, start + window) - sums.index_select(dim, start)
    return (difference / window).to(x.dtype)  # type: ignore[union-attr]


def _gate(x: Tensor) -> Tensor:
    """Return the product of the two halves of the channels (SimpleGate)."""
    a, b = x.chunk(2, dim=1)
    return a * b
