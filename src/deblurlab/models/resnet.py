"""Generator of DeblurGAN (Kupyn et al., CVPR 2018) and CycleGAN (Zhu et al., ICCV 2017)."""

from torch import Tensor, nn

from deblurlab.models.base import Model, Provenance
from deblurlab.models.blocks import Dropout, Norm, normalisation


class ResNet(Model):
    """Two strided convolutions, `blocks` residual blocks, two transposed convolutions.

    Johnson et al., ECCV 2016; the generator of DeblurGAN (Kupyn et al., "DeblurGAN: Blind Motion Deblurring Using
    Conditional Adversarial Networks", CVPR 2018, section 3.2) and, without `global_residual` and dropout, of CycleGAN
    (Zhu et al., ICCV 2017). 11,378,179 parameters. Images are converted to [-1, 1] inside.

    Every convolution has a bias and is followed by `norm`. A residual block has two convolutions with reflection
    padding and dropout between them. With `global_residual` the output is tanh(residual) + image.

    Differences from DeblurGAN's published code: dropout is off in evaluation mode; the output isn't clamped; blocks
    have two convolutions, as in the article. Instance norm uses the statistics of each image in both modes, as
    published.
    """

    provenance = (
        Provenance(
            title="DeblurGAN, CVPR 2018",
            paper="https://arxiv.org/abs/1711.07064",
            code="https://github.com/KupynOrest/DeblurGAN",
            licence="BSD 2-Clause",
            gopro="28.70 / 0.958 (paper; structural similarity on wavelets)",
            arguments={"global_residual": True},
        ),
        Provenance(
            title="CycleGAN, ICCV 2017",
            paper="https://arxiv.org/abs/1703.10593",
            code="https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix",
            arguments={"global_residual": False},
        ),
    )
    small_arguments = {"width": 8, "blocks": 2}
    multiple_of = 4
    min_size = 16
    key_renamings = (
        (r".*\.(running_mean|running_var|num_batches_tracked)$", ""),
        (r"^model\.1\.", "stem.1."),
        (r"^model\.4\.", "down.0.0."),
        (r"^model\.7\.", "down.1.0."),
        (r"^model\.1(\d)\.conv_block\.1\.", r"blocks.\1.conv1."),
        (r"^model\.1(\d)\.conv_block\.[56]\.", r"blocks.\1.conv2."),
        (r"^model\.19\.", "up.0.0."),
        (r"^model\.22\.", "up.1.0."),
        (r"^model\.26\.", "head.1."),
    )

    def __init__(
        self,
        *,
        width: int = 64,
        blocks: int = 9,
        norm: Norm = "instance",
        dropout: float = 0.5,
        global_residual: bool = True,
    ) -> None:
        super().__init__()
        self.global_residual = global_residual

        def layer(convolution: nn.Module, channels: int) -> nn.Sequential:
            return nn.Sequential(convolution, normalisation(norm, channels), nn.ReLU(inplace=True))

        def up(channels: int) -> nn.ConvTranspose2d:
            return nn.ConvTranspose2d(2 * channels, channels, 3, stride=2, padding=1, output_padding=1)

        self.stem = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), normalisation(norm, width), nn.ReLU(inplace=True)
        )
        self.down = nn.Sequential(
            *(layer(nn.Conv2d(w, 2 * w, 3, stride=2, padding=1), 2 * w) for w in (width, 2 * width))
        )
        self.blocks = nn.Sequential(*(ReflectionPadBlock(4 * width, norm, dropout) for _ in range(blocks)))
        self.up = nn.Sequential(*(layer(up(w), w) for w in (2 * width, width)))
        self.head = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())
        self.apply(_initialise)

    def restore(self, blurred: Tensor) -> Tensor:
        """Restore images, converted to [-1, 1] and back."""
        image = 2 * blurred - 1
        x = self.head(self.up(self.blocks(self.down(self.stem(image)))))
        return ((image + x if self.global_residual else x) + 1) / 2


class ReflectionPadBlock(nn.Module):
    """Residual block of two convolutions with reflection padding and dropout between them."""

    def __init__(self, channels: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3)
        self.norm1 = normalisation(norm, channels)
        self.dropout = Dropout(dropout)
        self.conv2 = nn.Conv2d(channels, channels, 3)
        self.norm2 = normalisation(norm, channels)
        self.pad = nn.ReflectionPad2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        y = self.dropout(self.norm1(self.conv1(self.pad(x))).relu())
        return x + self.norm2(self.conv2(self.pad(y)))


def _initialise(module: nn.Module) -> None:
    """Draw the weights of a convolution from N(0, 0.02), as in the published code."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
