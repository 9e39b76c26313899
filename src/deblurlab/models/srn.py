"""SRN-DeblurNet (Tao et al., CVPR 2018)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.models.base import Model, Provenance, Restored
from deblurlab.models.blocks import convolution, residual_blocks


class SRN(Model):
    """Scale-recurrent encoder-decoder with the same weights at every scale.

    Tao et al., "Scale-recurrent Network for Deep Image Deblurring", CVPR 2018, section 3. The input of a scale is the
    blurred image and the upsampled result of the next coarser scale, without gradient. 5x5 convolutions, additive skip
    connections.

    With `recurrent` a convolutional LSTM between encoder and decoder passes features from scale to scale (section 3.3;
    1,180,160 parameters). The authors' released colour model has no LSTM (6,881,251 parameters).

    Raises:
        ValueError: `scales` is less than 1.
    """

    provenance = (
        Provenance(
            title="SRN-DeblurNet, CVPR 2018",
            paper="https://arxiv.org/abs/1802.01770",
            code="https://github.com/jiangsutx/SRN-Deblur",
            licence="MIT",
            gopro="30.26 / 0.934 (paper, with the LSTM), 30.19 (README)",
        ),
    )
    small_arguments = {"width": 4, "blocks": 1}

    def __init__(self, *, width: int = 32, blocks: int = 3, scales: int = 3, recurrent: bool = True) -> None:
        super().__init__()
        if scales < 1:
            raise ValueError(f"scales is {scales}: it must be at least 1")
        self.multiple_of = 4 * 2 ** (scales - 1)
        self._scales = scales
        widths = width, 2 * width, 4 * width

        def encoder_stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            conv = convolution(inputs, outputs, kernel=5, stride=stride)
            return nn.Sequential(conv, nn.ReLU(inplace=True), residual_blocks(outputs, blocks, kernel=5))

        def decoder_stage(inputs: int) -> nn.Sequential:
            up = nn.ConvTranspose2d(inputs, inputs // 2, 4, stride=2, padding=1)
            return nn.Sequential(residual_blocks(inputs, blocks, kernel=5), up, nn.ReLU(inplace=True))

        self.encoder = nn.ModuleList(
            encoder_stage(i, o, s) for i, o, s in zip((6, *widths[:2]), widths, (1, 2, 2), strict=True)
        )
        self.lstm = ConvLSTM(widths[2]) if recurrent else None
        self.decoder = nn.ModuleList(decoder_stage(w) for w in (widths[2], widths[1]))
        self.last = residual_blocks(width, blocks, kernel=5)
        self.head = convolution(width, 3, kernel=5)

    def restore(self, blurred: Tensor) -> Restored:
        """Restore coarse to fine."""
        height, width = blurred.shape[-2:]
        sizes = [(height // 2**i, width // 2**i) for i in reversed(range(self._scales))]
        restored: list[Tensor] = []
        state: tuple[Tensor, Tensor] | None = None
        coarser = _resize(blurred, sizes[0])
        for size in sizes:
            x = torch.cat([_resize(blurred, size), _resize(coarser, size).detach()], dim=1)
            fine = self.encoder[0](x)
            middle = self.encoder[1](fine)
            x = self.encoder[2](middle)
            if self.lstm is not None:
                x, state = self.lstm(x, state)
            x = self.decoder[0](x) + middle
            x = self.decoder[1](x) + fine
            coarser = self.head(self.last(x))
            restored.append(coarser)
        return restored if self.training else restored[-1]


class ConvLSTM(nn.Module):
    """Convolutional LSTM cell without peepholes (Shi et al., NeurIPS 2015); its state is resized to its input."""

    def __init__(self, channels: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.gates = convolution(2 * channels, 4 * channels, kernel=kernel)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the output and the new state (output, memory); `state` None means zeros."""
        hidden, memory = (x.new_zeros(x.shape),) * 2 if state is None else (_resize(s, x.shape[-2:]) for s in state)
        input_gate, candidate, forget_gate, output_gate = self.gates(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)
        memory = (forget_gate + 1).sigmoid() * memory + input_gate.sigmoid() * candidate.tanh()
        hidden = output_gate.sigmoid() * memory.tanh()
        return hidden, (hidden, memory)


def _resize(image: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    size = (size[0], size[1])
    return image if image.shape[-2:] == size else F.interpolate(image, size, mode="bilinear", align_corners=False)
