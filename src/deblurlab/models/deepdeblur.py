"""DeepDeblur (Nah et al., CVPR 2017)."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from deblurlab.models.base import Model, Provenance, Restored
from deblurlab.models.blocks import convolution, residual_blocks
from deblurlab.models.padding import pad_symmetric

Border = Literal["symmetric", "reflect"]
_RADIUS = 3
"""Radius in pixels of the Gaussian of the image pyramid."""


class DeepDeblur(Model):
    """Multi-scale residual network with separate weights per scale.

    Nah et al., "Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring", CVPR 2017, section 3, in
    the variant of the authors' PyTorch code: `blocks` residual blocks per scale without normalisation, upsampling by
    pixel shuffle, values of 0..255 minus 127.5 inside. Every scale but the coarsest also gets the upsampled result of
    the next coarser scale. 11,721,321 parameters.

    The image pyramid is that of the authors' data loader: a Gaussian of sigma 2/3, then averages of 2x2 pixels. For
    `border` "symmetric", the Gaussian sees the image reflected with its edge repeated, as in the loader; for "reflect",
    which changes the outermost row and column of a coarse image, without the edge repeated.

    Raises:
        ValueError: `scales` is less than 1, or `border` is unknown.
    """

    provenance = (
        Provenance(
            title="DeepDeblur, CVPR 2017",
            paper="https://arxiv.org/abs/1612.02177",
            code="https://github.com/SeungjunNah/DeepDeblur-PyTorch",
            licence="MIT",
            gopro="29.23 / 0.916 (paper), 30.40 / 0.902 (README, on blur_gamma)",
        ),
    )
    original_arguments = {"border": "symmetric", "padding": "replicate"}
    small_arguments = {"width": 8, "blocks": 2}
    key_renamings = (
        (r"^body_models\.(\d)\.body\.0\.(\w+)$", r"stems.\1.\2"),
        (r"^body_models\.(\d)\.body\.20\.(\w+)$", r"heads.\1.\2"),
        (r"^body_models\.(\d)\.body\.(\d+)\.body\.0", lambda m: f"bodies.{m[1]}.{int(m[2]) - 1}.body.0"),
        (r"^body_models\.(\d)\.body\.(\d+)\.body\.2", lambda m: f"bodies.{m[1]}.{int(m[2]) - 1}.body.3"),
        (r"^conv_end_models\.(\d)\.uppath\.0", r"up.\1"),
    )

    def __init__(
        self, *, width: int = 64, blocks: int = 19, scales: int = 3, kernel: int = 5, border: Border = "reflect"
    ) -> None:
        super().__init__()
        if scales < 1:
            raise ValueError(f"scales is {scales}: it must be at least 1")
        if border not in get_args(Border):
            raise ValueError(f"border is {border}: it must be one of {', '.join(get_args(Border))}")
        self.multiple_of = 2 ** (scales - 1)
        self.min_size = 2 * self.multiple_of  # the Gaussian needs 3 pixels of reflection at the second coarsest scale
        self._scales, self._border = scales, border
        # Scale 0 is the finest, as in the original keys. Its 6 channels are image and upsampled coarser result.
        inputs = [6] * (scales - 1) + [3]
        self.stems = nn.ModuleList(convolution(n, width, kernel=kernel) for n in inputs)
        self.bodies = nn.ModuleList(residual_blocks(width, blocks, kernel=kernel) for _ in inputs)
        self.heads = nn.ModuleList(convolution(width, 3, kernel=kernel) for _ in inputs)
        self.up = nn.ModuleDict({str(i): convolution(3, 12, kernel=kernel) for i in range(1, scales)})

    def restore(self, blurred: Tensor) -> Restored:
        """Restore coarse to fine."""
        pyramid = [255 * (blurred - 0.5)]
        for _ in range(self._scales - 1):
            pyramid.append(_halve(pyramid[-1], self._border))
        x, restored = pyramid[-1], []
        for i in reversed(range(self._scales)):
            x = self.heads[i](self.bodies[i](self.stems[i](x)))
            restored.append(x / 255 + 0.5)
            if i > 0:
                x = torch.cat([pyramid[i - 1], F.pixel_shuffle(self.up[str(i)](x), 2)], dim=1)
        return restored if self.training else restored[-1]


def _halve(image: Tensor, border: Border) -> Tensor:
    """Blur by a Gaussian of sigma 2/3 and average 2x2 pixels."""
    padding = _RADIUS if border == "symmetric" else 0
    blurred = gaussian_blur(pad_symmetric(image, padding), [2 * _RADIUS + 1] * 2, [2 / 3, 2 / 3])  # itself reflects
    return F.avg_pool2d(blurred[..., padding : image.shape[-2] + padding, padding : image.shape[-1] + padding], 2)
