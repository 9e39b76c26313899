"""SRN-DeblurNet."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.models.base import Model, Restored
from deblurlab.models.blocks import convolution, residual_blocks


class SRN(Model):
    """One encoder-decoder that restores coarse to fine, with the same weights at every scale (Tao et al.,
    "Scale-recurrent Network for Deep Image Deblurring", CVPR 2018, section 3): each scale sees its blurred image
    beside the result of the one below, through which no gradient flows. 5x5 convolutions, skip connections that add.

    With `recurrent`, as in the paper's section 3.3, a convolutional LSTM between encoder and decoder carries features
    from scale to scale (1,180,160 parameters); the authors' released colour model goes without.
    """

    def __init__(self, *, width: int = 32, blocks: int = 3, scales: int = 3, recurrent: bool = True) -> None:
        super().__init__()
        if scales < 1:
            raise ValueError(f"scales is {scales}: there is at least the full one")
        self.multiple_of = 4 * 2 ** (scales - 1)
        self._scales = scales
        widths = width, 2 * width, 4 * width

        def enter(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            first = convolution(inputs, outputs, kernel=5, stride=stride)
            return nn.Sequential(first, nn.ReLU(inplace=True), residual_blocks(outputs, blocks, kernel=5))

        def leave(inputs: int) -> nn.Sequential:
            up = nn.ConvTranspose2d(inputs, inputs // 2, 4, stride=2, padding=1)
            return nn.Sequential(residual_blocks(inputs, blocks, kernel=5), up, nn.ReLU(inplace=True))

        self.encoder = nn.ModuleList(
            enter(i, o, s) for i, o, s in zip((6, *widths[:2]), widths, (1, 2, 2), strict=True)
        )
        self.lstm = ConvLSTM(widths[2]) if recurrent else None
        self.decoder = nn.ModuleList(leave(w) for w in (widths[2], widths[1]))
        self.last = residual_blocks(width, blocks, kernel=5)
        self.head = convolution(width, 3, kernel=5)

    def restore(self, blurred: Tensor) -> Restored:
        height, width = blurred.shape[-2:]
        sizes = [(height // 2**i, width // 2**i) for i in reversed(range(self._scales))]
        restored: list[Tensor] = []
        state: tuple[Tensor, Tensor] | None = None
        below = _resize(blurred, sizes[0])
        for size in sizes:
            x = torch.cat([_resize(blurred, size), _resize(below, size).detach()], dim=1)
            fine = self.encoder[0](x)
            middle = self.encoder[1](fine)
            x = self.encoder[2](middle)
            if self.lstm is not None:
                x, state = self.lstm(x, state)
            x = self.decoder[0](x) + middle
            x = self.decoder[1](x) + fine
            below = self.head(self.last(x))
            restored.append(below)
        return restored if self.training else restored[-1]


class ConvLSTM(nn.Module):
    """A convolutional LSTM cell (Shi et al., NeurIPS 2015, without peepholes). Its state is resized to its input."""

    def __init__(self, channels: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.gates = convolution(2 * channels, 4 * channels, kernel=kernel)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The cell's output, and its new state (output, memory); without a state it begins with zeros."""
        hidden, memory = (x.new_zeros(x.shape),) * 2 if state is None else (_resize(s, x.shape[-2:]) for s in state)
        enter, new, forget, leave = self.gates(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)
        memory = (forget + 1).sigmoid() * memory + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * memory.tanh()
        return hidden, (hidden, memory)


def _resize(image: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    size = (size[0], size[1])
    return image if image.shape[-2:] == size else F.interpolate(image, size, mode="bilinear", align_corners=False)
