"""MIMO-UNet+."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.models.base import Model, Restored
from deblurlab.models.blocks import convolution, residual_blocks


class MIMOUNetPlus(Model):
    """A single U-Net that takes the image in at three sizes and restores all three (Cho et al., "Rethinking
    Coarse-to-Fine Approach in Single Image Deblurring", ICCV 2021): 20 residual blocks per stage, 8 for MIMO-UNet.

    `dropout` is the share of channels dropped on the skip connections while training. Names follow the paper: a shallow
    convolutional module (SCM) reads a smaller image, feature attention (FAM) merges it in, asymmetric feature
    fusion (AFF) connects all encoder sizes with each decoder.
    """

    multiple_of = 4
    published = (
        (r"^(Encoder|Decoder)\.(\d)\.layers\.(\d+)\.main\.0\.main\.0", r"\1.\2.\3.body.0"),
        (r"^(Encoder|Decoder)\.(\d)\.layers\.(\d+)\.main\.1\.main\.0", r"\1.\2.\3.body.3"),
        (r"^Encoder", "encoder"),
        (r"^Decoder", "decoder"),
        (r"^feat_extract\.0\.main", "stem"),
        (r"^feat_extract\.([12])\.main", r"down.\1"),
        (r"^feat_extract\.([34])\.main", r"up.\1"),
        (r"^feat_extract\.5\.main\.0", "heads.fine"),
        (r"^ConvsOut\.0\.main\.0", "heads.coarse"),
        (r"^ConvsOut\.1\.main\.0", "heads.middle"),
        (r"^Convs\.(\d)\.main", r"merge.\1"),
        (r"^AFFs\.(\d)\.conv\.0\.main\.0", r"aff.\1.0"),
        (r"^AFFs\.(\d)\.conv\.1\.main\.0", r"aff.\1.2"),
        (r"^FAM([12])\.merge\.main\.0", r"fam.\1"),
        (r"^SCM([12])\.main\.(\d)\.main\.0", r"scm.\1.layers.\2.0"),
        (r"^SCM([12])\.conv\.main\.0", r"scm.\1.last"),
    )

    def __init__(self, *, width: int = 32, blocks: int = 20, dropout: float = 0.1) -> None:
        super().__init__()
        fine, middle, coarse = widths = width, 2 * width, 4 * width
        self.stem = _relu(convolution(3, fine))
        self.encoder = nn.ModuleList(residual_blocks(w, blocks) for w in widths)
        # Keys as in the published names.
        self.down = nn.ModuleDict({"1": _relu(convolution(fine, middle, stride=2)),
                                   "2": _relu(convolution(middle, coarse, stride=2))})  # fmt: skip
        self.scm = nn.ModuleDict({"1": ShallowModule(coarse), "2": ShallowModule(middle)})
        self.fam = nn.ModuleDict({"1": convolution(coarse, coarse), "2": convolution(middle, middle)})
        self.aff = nn.ModuleList(
            nn.Sequential(nn.Conv2d(sum(widths), w, 1), nn.ReLU(inplace=True), convolution(w, w))
            for w in (fine, middle)
        )
        self.dropout = nn.Dropout2d(dropout)
        self.decoder = nn.ModuleList(residual_blocks(w, blocks) for w in reversed(widths))
        self.up = nn.ModuleDict({"3": _relu(_double(coarse, middle)), "4": _relu(_double(middle, fine))})
        self.merge = nn.ModuleList([_relu(nn.Conv2d(coarse, middle, 1)), _relu(nn.Conv2d(middle, fine, 1))])
        self.heads = nn.ModuleDict({"coarse": convolution(coarse, 3), "middle": convolution(middle, 3),
                                    "fine": convolution(fine, 3)})  # fmt: skip

    def restore(self, blurred: Tensor) -> Restored:
        half = blurred[..., ::2, ::2]  # as the original does: no averaging
        quarter = half[..., ::2, ::2]
        fine = self.encoder[0](self.stem(blurred))
        middle = self.encoder[1](_attend(self.fam["2"], self.down["1"](fine), self.scm["2"](half)))
        coarse = self.encoder[2](_attend(self.fam["1"], self.down["2"](middle), self.scm["1"](quarter)))

        skip_middle = self.aff[1](torch.cat([fine[..., ::2, ::2], middle, _twice(coarse)], dim=1))
        skip_fine = self.aff[0](torch.cat([fine, _twice(middle), _twice(_twice(coarse))], dim=1))

        x = self.decoder[0](coarse)
        restored = [quarter + self.heads["coarse"](x)] if self.training else []
        x = self.merge[0](torch.cat([self.up["3"](x), self.dropout(skip_middle)], dim=1))
        x = self.decoder[1](x)
        if self.training:
            restored.append(half + self.heads["middle"](x))
        x = self.merge[1](torch.cat([self.up["4"](x), self.dropout(skip_fine)], dim=1))
        finest = blurred + self.heads["fine"](self.decoder[2](x))
        return [*restored, finest] if self.training else finest


class ShallowModule(nn.Module):
    """`(B, 3, H, W)` -> `(B, channels, H, W)`: the image beside what four small layers make of it, mixed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter, half = channels // 4, channels // 2
        layers = [convolution(3, quarter), nn.Conv2d(quarter, half, 1), convolution(half, half),
                  nn.Conv2d(half, channels - 3, 1)]  # fmt: skip
        self.layers = nn.Sequential(*map(_relu, layers))
        self.last = nn.Conv2d(channels, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.last(torch.cat([image, self.layers(image)], dim=1))


def _attend(merge: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return x + merge(x * y)


def _relu(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.ReLU(inplace=True))


def _double(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0)
