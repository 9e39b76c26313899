"""Building blocks shared by several generators, `(B, C, H, W)` -> same shape unless documented otherwise."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["none", "instance", "batch"]


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """Return a normalisation layer; instance norm has no learnable parameters, as in pix2pix.

    Raises:
        ValueError: `norm` is unknown.
    """
    match norm:
        case "none":
            return nn.Identity()
        case "instance":
            return InstanceNorm2d(channels)
        case "batch":
            return nn.BatchNorm2d(channels)
    raise ValueError(f"unknown norm {norm!r}: none, instance or batch")


def convolution(inputs: int, outputs: int, norm: Norm = "none", *, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Return a convolution with "same" padding; it has a bias only if no normalisation follows.

    Raises:
        ValueError: `kernel` is even.
    """
    if kernel % 2 == 0:
        raise ValueError(f"kernel is {kernel}: it must be odd")
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=norm == "none")


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance normalisation without learnable parameters, on CPUs by the fastest of torch's equivalent kernels.

    These are group norm with one group per channel, for contiguous features, and batch norm of each image, for
    channels_last features of low precision (in float32 it is 20 times less accurate). The results agree up to rounding.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `(B, C, H, W)` features."""
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        if x.is_contiguous():
            return F.group_norm(x, self.num_features, eps=self.eps)
        if x.dtype in (torch.bfloat16, torch.float16):
            images = [F.batch_norm(image, None, None, training=True, eps=self.eps) for image in x.chunk(len(x))]
            return torch.cat(images) if len(images) > 1 else images[0]
        return super().forward(x)


class ImageBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that in evaluation mode uses the statistics of each image, not running ones.

    In training mode it uses those of the batch, as usual. The two are equal for a batch of one image.

    Args:
        layer: Layer whose weights and, in timm's layers, activation it takes over.
    """

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__(layer.num_features, eps=layer.eps, momentum=layer.momentum)
        self.load_state_dict(layer.state_dict())
        self.act = getattr(layer, "act", nn.Identity())

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised `(B, C, H, W)` features."""
        if self.training:
            normalised = super().forward(input)
        else:
            normalised = F.instance_norm(input, weight=self.weight, bias=self.bias, eps=self.eps)
        return self.act(normalised)


class Dropout(nn.Dropout):
    """Dropout that draws its mask four times as fast on CPUs other than Intel's."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the features, a share `p` of them zero and the others divided by 1 - p in training mode."""
        if not self.training or x.device.type != "cpu" or self.p in (0, 1):
            return super().forward(x)
        kept = torch.rand_like(x, dtype=torch.float32) >= self.p
        return x * kept.to(x.dtype).div_(1 - self.p)


class DoubleConv(nn.Sequential):
    """Two convolutions, each followed by normalisation and ReLU (U-Net, Ronneberger et al., MICCAI 2015)."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__(
            convolution(channels, channels, norm),
            normalisation(norm, channels),
            nn.ReLU(inplace=True),
            convolution(channels, channels, norm),
            normalisation(norm, channels),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), with no activation after the sum (Nah et al., CVPR 2017, fig. 3b)."""

    def __init__(self, channels: int, norm: Norm = "none", *, kernel: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(channels, channels, norm, kernel=kernel),
            normalisation(norm, channels),
            nn.ReLU(inplace=True),
            convolution(channels, channels, norm, kernel=kernel),
            normalisation(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return `x + body(x)`."""
        return x + self.body(x)


def residual_blocks(channels: int, count: int, *, kernel: int = 3) -> nn.Sequential:
    """Return a sequence of `count` residual blocks without normalisation."""
    return nn.Sequential(*(ResidualBlock(channels, kernel=kernel) for _ in range(count)))


class Upsample(nn.Sequential):
    """Convolution and bilinear upsampling, `(B, inputs, H, W)` -> `(B, outputs, 2H, 2W)`.

    Interpolation avoids the checkerboard artefacts of transposed convolutions (Odena et al., "Deconvolution and
    Checkerboard Artifacts", Distill 2016). The convolution comes first because it costs a quarter at the smaller size.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        )


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel, with a learnable scale and shift per channel."""

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `(B, C, H, W)` features."""
        channels_last = x.permute(0, 2, 3, 1)  # a view without a copy for tensors in channels_last format
        normalised = F.layer_norm(channels_last, self.normalized_shape, self.weight, self.bias, self.eps)
        return normalised.permute(0, 3, 1, 2)
