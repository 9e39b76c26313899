"""MIMO-UNet+ (Cho et al., ICCV 2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.models.base import Model, Provenance, Restored
from deblurlab.models.blocks import convolution, residual_blocks

_ORIGIN = Provenance(
    title="MIMO-UNet+, ICCV 2021",
    paper="https://arxiv.org/abs/2108.05054",
    code="https://github.com/chosj95/MIMO-UNet",
    licence="none given",
    gopro="32.45 / 0.957 (README)",
)


class MIMOUNetPlus(Model):
    """Single U-Net with inputs and outputs at three scales.

    Cho et al., "Rethinking Coarse-to-Fine Approach in Single Image Deblurring", ICCV 2021, section 3. A shallow
    convolutional module (`scm`) extracts features of each downsampled image, a feature attention module (`fam`) merges
    them into the encoder, asymmetric feature fusion (`aff`) passes the features of all encoder scales to each decoder.

    `blocks` residual blocks per stage: 20 for MIMO-UNet+ (16,107,651 parameters), 8 for MIMO-UNet (6,807,171
    parameters), which has no dropout. `dropout` is the probability with which a channel of the skip connections is
    dropped in training mode.
    """

    provenance = (
        _ORIGIN._replace(
            title="MIMO-UNet, ICCV 2021", gopro="31.73 / 0.951 (README)", arguments={"blocks": 8, "dropout": 0}
        ),
        _ORIGIN,
    )
    small_arguments = {"width": 16, "blocks": 1}
    multiple_of = 4
    key_renamings = (
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
        self.stem = _with_relu(convolution(3, fine))
        self.encoder = nn.ModuleList(residual_blocks(w, blocks) for w in widths)
        # Dictionary keys follow the numbers in the original keys.
        self.down = nn.ModuleDict({"1": _with_relu(convolution(fine, middle, stride=2)),
                                   "2": _with_relu(convolution(middle, coarse, stride=2))})  # fmt: skip
        self.scm = nn.ModuleDict({"1": ShallowModule(coarse), "2": ShallowModule(middle)})
        self.fam = nn.ModuleDict({"1": convolution(coarse, coarse), "2": convolution(middle, middle)})
        self.aff = nn.ModuleList(
            nn.Sequential(nn.Conv2d(sum(widths), w, 1), nn.ReLU(inplace=True), convolution(w, w))
            for w in (fine, middle)
        )
        self.dropout = nn.Dropout2d(dropout)
        self.decoder = nn.ModuleList(residual_blocks(w, blocks) for w in reversed(widths))
        self.up = nn.ModuleDict(
            {"3": _with_relu(_upsampling(coarse, middle)), "4": _with_relu(_upsampling(middle, fine))}
        )
        self.merge = nn.ModuleList([_with_relu(nn.Conv2d(coarse, middle, 1)), _with_relu(nn.Conv2d(middle, fine, 1))])
        self.heads = nn.ModuleDict({"coarse": convolution(coarse, 3), "middle": convolution(middle, 3),
                                    "fine": convolution(fine, 3)})  # fmt: skip

    def restore(self, blurred: Tensor) -> Restored:
        """Restore at three scales in training mode, at full size in evaluation mode."""
        half = blurred[..., ::2, ::2]  # subsampling without averaging, as in the published code
        quarter = half[..., ::2, ::2]
        fine = self.encoder[0](self.stem(blurred))
        middle = self.encoder[1](_attend(self.fam["2"], self.down["1"](fine), self.scm["2"](half)))
        coarse = self.encoder[2](_attend(self.fam["1"], self.down["2"](middle), self.scm["1"](quarter)))

        skip_middle = self.aff[1](torch.cat([fine[..., ::2, ::2], middle, _upsample(coarse)], dim=1))
        skip_fine = self.aff[0](torch.cat([fine, _upsample(middle), _upsample(_upsample(coarse))], dim=1))

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
    """Shallow convolutional module (section 3.1): `(B, 3, H, W)` -> `(B, channels, H, W)`.

    Features of four convolutions are concatenated with the image and mixed by a 1x1 convolution.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter, half = channels // 4, channels // 2
        layers = [convolution(3, quarter), nn.Conv2d(quarter, half, 1), convolution(half, half),
                  nn.Conv2d(half, channels - 3, 1)]  # fmt: skip
        self.layers = nn.Sequential(*map(_with_relu, layers))
        self.last = nn.Conv2d(channels, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return features of a downsampled image."""
        return self.last(torch.cat([image, self.layers(image)], dim=1))


def _attend(merge: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Apply a feature attention module."""
    return x + merge(x * y)


def _with_relu(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.ReLU(inplace=True))


def _upsampling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)


def _upsample(x: Tensor) -> Tensor:
    """Upsample by 2, nearest neighbour."""
    return F.interpolate(x, scale_factor=2.0)
