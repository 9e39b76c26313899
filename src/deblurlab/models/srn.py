"""SRN-DeblurNet (Tao et al., CVPR 2018)."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.models.base import Model, Provenance, Restored
from deblurlab.models.blocks import convolution, residual_blocks

Resizing = Literal["half_pixel", "asymmetric"]


class SRN(Model):
    """Scale-recurrent encoder-decoder with the same weights at every scale.

    Tao et al., "Scale-recurrent Network for Deep Image Deblurring", CVPR 2018, section 3. The input of a scale is the
    blurred image and the upsampled result of the next coarser scale, without gradient. 5x5 convolutions, additive skip
    connections.

    With `recurrent` a convolutional LSTM between encoder and decoder passes features from scale to scale (section 3.3;
    1,180,160 parameters). The authors' released colour model has no LSTM (6,881,251 parameters).

    Args:
        width: Channels at the finest size of a scale; they double with each of two halvings.
        blocks: Residual blocks per stage.
        scales: Number of scales.
        recurrent: Connect the scales by a convolutional LSTM.
        resize: Coordinates of bilinear resizing, in the terms of ONNX: pixel i of the output is at (i + 0.5) s - 0.5 of
            the input for "half_pixel", and at i s for "asymmetric", which is that of TensorFlow 1 and of the authors.
        same_padding: Pad the input of convolutions with stride 2 by 1 pixel before and 2 after, as TensorFlow's SAME
            padding and the authors do, instead of 2 and 2.

    Raises:
        ValueError: `scales` is less than 1, or `resize` is unknown.
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
    original_arguments = {"resize": "asymmetric", "same_padding": True, "padding": "replicate"}
    small_arguments = {"width": 4, "blocks": 1}
    key_renamings = (
        (r"^g_net/enc(\d)_1/", lambda m: f"encoder.{int(m[1]) - 1}.0/"),
        (r"^g_net/enc(\d)_(\d)/", lambda m: f"encoder.{int(m[1]) - 1}.2.{int(m[2]) - 2}/"),
        (r"^g_net/dec1_0/", "head/"),
        (r"^g_net/dec1_([123])/", lambda m: f"last.{3 - int(m[1])}/"),
        (r"^g_net/dec([23])_([123])/", lambda m: f"decoder.{3 - int(m[1])}.0.{3 - int(m[2])}/"),
        (r"^g_net/dec([12])_4/", lambda m: f"decoder.{2 - int(m[1])}.1/"),
        (r"/conv([12])/", lambda m: f".body.{3 * int(m[1]) - 3}/"),
        (r"^(.*/Adam(_1)?|beta[12]_power|Variable)$", ""),  # state of the optimizer, number of the step
        (r"/weights$", ".weight"),
        (r"/biases$", ".bias"),
    )

    def __init__(
        self,
        *,
        width: int = 32,
        blocks: int = 3,
        scales: int = 3,
        recurrent: bool = True,
        resize: Resizing = "half_pixel",
        same_padding: bool = False,
    ) -> None:
        super().__init__()
        if scales < 1:
            raise ValueError(f"scales is {scales}: it must be at least 1")
        if resize not in get_args(Resizing):
            raise ValueError(f"resize is {resize}: it must be one of {', '.join(get_args(Resizing))}")
        self.multiple_of = 4 * 2 ** (scales - 1)
        self._scales = scales
        self._asymmetric = resize == "asymmetric"
        widths = width, 2 * width, 4 * width

        def encoder_stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            kind = SameConv2d if same_padding and stride == 2 else nn.Conv2d
            conv = kind(inputs, outputs, 5, stride=stride, padding=2)
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
        restored: list[Tensor] = []
        state: tuple[Tensor, Tensor] | None = None
        for halvings in reversed(range(self._scales)):
            image = self._shrink(blurred, halvings)
            coarser = self._double(restored[-1]) if restored else image
            fine = self.encoder[0](torch.cat([image, coarser.detach()], dim=1))
            middle = self.encoder[1](fine)
            x = self.encoder[2](middle)
            if self.lstm is not None:
                x, state = self.lstm(x, state and (self._double(state[0]), self._double(state[1])))
            x = self.decoder[0](x) + middle
            x = self.decoder[1](x) + fine
            restored.append(self.head(self.last(x)))
        return restored if self.training else restored[-1]

    def _shrink(self, image: Tensor, halvings: int) -> Tensor:
        """Resize bilinearly by a power of 1/2."""
        step = 2**halvings
        if halvings == 0 or self._asymmetric:
            return image[..., ::step, ::step]
        return _interpolate(image, (image.shape[-2] // step, image.shape[-1] // step))

    def _double(self, image: Tensor) -> Tensor:
        """Resize bilinearly by 2."""
        if not self._asymmetric:
            return _interpolate(image, (2 * image.shape[-2], 2 * image.shape[-1]))
        for dim in (2, 3):
            following = torch.cat([image.narrow(dim, 1, image.shape[dim] - 1), image.narrow(dim, -1, 1)], dim)
            image = torch.stack([image, (image + following) / 2], dim + 1).flatten(dim, dim + 1)
        return image


class SameConv2d(nn.Conv2d):
    """Convolution of even sides with a 5x5 kernel and stride 2, padded as by TensorFlow's SAME: 1 before, 2 after."""

    def forward(self, input: Tensor) -> Tensor:
        """Return features of half the size."""
        return F.conv2d(F.pad(input, (1, 2, 1, 2)), self.weight, self.bias, stride=2)


class ConvLSTM(nn.Module):
    """Convolutional LSTM cell without peepholes (Shi et al., NeurIPS 2015)."""

    def __init__(self, channels: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.gates = convolution(2 * channels, 4 * channels, kernel=kernel)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the output and the new state (output, memory); `state` None means zeros."""
        hidden, memory = (x.new_zeros(x.shape),) * 2 if state is None else state
        input_gate, candidate, forget_gate, output_gate = self.gates(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)
        memory = (forget_gate + 1).sigmoid() * memory + input_gate.sigmoid() * candidate.tanh()
        hidden = output_gate.sigmoid() * memory.tanh()
        return hidden, (hidden, memory)


def _interpolate(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image, size, mode="bilinear", align_corners=False)
