"""Simulation of JPEG compression in torch, for batches on any device."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Quantisation tables of ITU-T T.81, tables K.1 and K.2.
_LUMINANCE = """
16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99"""
_CHROMINANCE = """
17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99"""
_TABLES = [torch.tensor([float(n) for n in text.split()]).view(8, 8) for text in (_LUMINANCE, _CHROMINANCE)]
_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
"""RGB to YCbCr of JFIF 1.02, without offsets."""


def _dct_matrix() -> Tensor:
    """Return the orthonormal 8x8 DCT-II matrix."""
    k, x = np.arange(8)[:, None], np.arange(8)
    rows = np.cos((2 * x + 1) * k * np.pi / 16) / 2
    rows[0] /= np.sqrt(2)
    return torch.tensor(rows, dtype=torch.float32)


_DCT = _dct_matrix()


def simulate_jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """Return images after baseline JPEG compression with 4:2:0 chroma subsampling.

    Quantisation tables are scaled as in the library of the Independent JPEG Group (libjpeg). The result differs from
    libjpeg's in rounding and in chroma upsampling, which is bilinear here.

    Args:
        images: `(B, 3, H, W)` uint8.
        quality: `(B,)`, 1..100.
    """
    height, width = images.shape[-2:]
    padded = F.pad(images.float(), (0, -width % 16, 0, -height % 16), mode="replicate")
    ycc = torch.einsum("ij,bjhw->bihw", _YCC.to(images.device), padded).round()
    ycc[:, 0] -= 128
    q = quality.clamp(1, 100).float()
    scale = torch.where(q < 50, (5000 / q).floor(), 200 - 2 * q)
    tables = [((t.to(q.device) * scale[:, None, None] + 50) / 100).floor().clamp(1, 255) for t in _TABLES]
    luminance = _quantise(ycc[:, :1], tables[0])
    chrominance = _quantise(F.avg_pool2d(ycc[:, 1:], 2).round(), tables[1])
    upsampled = F.interpolate(chrominance, scale_factor=2, mode="bilinear", align_corners=False)
    decoded = torch.cat([luminance + 128, upsampled], dim=1)
    rgb = torch.einsum("ij,bjhw->bihw", _YCC.inverse().to(images.device), decoded)
    return rgb[..., :height, :width].round().clamp(0, 255).to(torch.uint8)


def _quantise(planes: Tensor, table: Tensor) -> Tensor:
    """Quantise the DCT coefficients of 8x8 blocks in steps of `table`, `(B, 8, 8)`, and transform back."""
    b, c, height, width = planes.shape
    dct = _DCT.to(planes.device)
    blocks = planes.view(b, c, height // 8, 8, width // 8, 8).transpose(3, 4)
    steps = table[:, None, None, None]
    coefficients = (dct @ blocks @ dct.T / steps).round() * steps
    return (dct.T @ coefficients @ dct).round().clamp(-128, 127).transpose(3, 4).reshape(b, c, height, width)
