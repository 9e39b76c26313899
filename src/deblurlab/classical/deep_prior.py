"""Deep image prior (Ulyanov et al., CVPR 2018) and SelfDeblur (Ren et al., CVPR 2020)."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab._compat import cpu_has_bf16
from deblurlab.classical.frequency import Array, validate_psf

_SCALES, _SKIP, _INPUT = 5, 4, 32
_STRIDE = 2**_SCALES
_VARIANCE_WEIGHT = 0.1
"""Weight of a new iterate in the moving mean and variance of early stopping."""
WARM_UP = 100
"""Number of iterations before early stopping, in which the variance of the outputs isn't meaningful yet."""


class SkipNetwork(nn.Module):
    """Encoder-decoder with skip connections, `(B, 32, H, W)` -> `(B, 3, H, W)` in (0, 1).

    Ulyanov, Vedaldi and Lempitsky, "Deep Image Prior", CVPR 2018, in the authors' default configuration: 5 scales of
    128 channels, skip connections of 4 channels, 2,217,831 parameters. H and W are multiples of 32.

    Args:
        width: Channels of every scale.
    """

    def __init__(self, *, width: int = 128) -> None:
        super().__init__()
        inner: nn.Module = nn.Identity()
        for scale in reversed(range(_SCALES)):
            inner = _Scale(_INPUT if scale == 0 else width, width, inner)
        self.body = inner
        self.head = nn.Conv2d(width, 3, 1)

    def forward(self, code: Tensor) -> Tensor:
        """Return the image of an input code."""
        return self.head(self.body(code)).sigmoid()


class _Scale(nn.Module):
    """One scale: downsampling, the inner scales and upsampling, with a skip connection."""

    def __init__(self, channels: int, width: int, inner: nn.Module) -> None:
        super().__init__()
        self.across = _conv_norm_relu(channels, _SKIP, 1)
        self.down = nn.Sequential(
            _conv_norm_relu(channels, width, 3, stride=2), _conv_norm_relu(width, width, 3), inner
        )
        self.up = nn.Sequential(
            nn.BatchNorm2d(_SKIP + width),
            _conv_norm_relu(_SKIP + width, width, 3),
            _conv_norm_relu(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        deep = F.interpolate(self.down(x), scale_factor=2, mode="bilinear", align_corners=False)
        return self.up(torch.cat([self.across(x), deep], dim=1))


def kernel_network(side: int) -> nn.Module:
    """Return the psf network of SelfDeblur, `(200,)` -> `(side^2,)` with sum 1.

    One hidden layer of 1000 units and a softmax (Ren et al., "Neural Blind Deconvolution Using Deep Priors", CVPR
    2020).
    """
    return nn.Sequential(nn.Linear(200, 1000), nn.ReLU6(), nn.Linear(1000, side * side), nn.Softmax(dim=-1))


class Iterate(NamedTuple):
    """State of a fit after an iteration."""

    restored: Tensor
    """Exponential moving average of the network's outputs, `(1, 3, H, W)`, decay 0.99 from iteration 100 on."""
    variance: float
    """Exponential moving variance of the network's outputs, mean over all values."""


def deep_image_prior(
    image: Array,
    psf: Array | None,
    *,
    iterations: int = 2500,
    width: int = 128,
    kernel_size: int = 21,
    patience: int = 300,
    precision: str = "fp32",
    seed: int = 0,
    device: str = "auto",
) -> Array:
    """Restore an image by fitting an untrained network to it.

    The network G with fixed input z minimises `|h conv G(z) - g|^2` for the blurred image g and the psf h; its
    structure is the image prior (Ulyanov, Vedaldi and Lempitsky, CVPR 2018). Without a psf, `kernel_network` estimates
    h in the same optimisation: SelfDeblur (Ren et al., CVPR 2020, equation 10) with its learning rates, input noise and
    milestones. Unlike in SelfDeblur's published code, the loss is the squared error in all iterations.

    The fit stops early where the moving variance of the outputs has its minimum, before the network fits the noise
    (Wang et al., "Early Stopping for Deep Image Prior", TMLR 2023, the exponential moving variance).

    Args:
        image: `(H, W, 3)` in [0, 1].
        psf: `(k, k)`, sum 1; None estimates a psf of `kernel_size`.
        iterations: Maximum number; the learning rate is halved after 40, 60 and 80 % of them.
        width: Channels of the network.
        kernel_size: Side of the estimated psf, odd.
        patience: The fit stops after this many iterations without a smaller variance, counted from iteration 100.
        precision: "fp32", "bf16", or "auto": bf16 on CPUs with bfloat16 instructions.
        seed: Seed of the weights and the noise.
        device: Torch device; "auto" uses a GPU if there is one.

    Returns:
        The moving average of the outputs at the smallest variance, `(H, W, 3)`.

    Raises:
        ValueError: The psf is invalid, a number is out of range, or `precision` is unknown.
    """
    best, smallest, best_at = None, float("inf"), 0
    fit = iterates(
        image,
        psf,
        iterations=iterations,
        width=width,
        kernel_size=kernel_size,
        precision=precision,
        seed=seed,
        device=device,
    )
    for i, (restored, variance) in enumerate(fit):
        if i <= WARM_UP or variance < smallest:
            best, smallest, best_at = restored, variance, i
        elif i - best_at >= patience:
            break
    assert best is not None
    return best[0].cpu().double().numpy().transpose(1, 2, 0)


def iterates(
    image: Array,
    psf: Array | None,
    *,
    iterations: int,
    width: int = 128,
    kernel_size: int = 21,
    precision: str = "fp32",
    seed: int = 0,
    device: str = "auto",
) -> Iterator[Iterate]:
    """Yield the state of `deep_image_prior` after every iteration, without early stopping.

    Raises:
        ValueError: The psf is invalid, a number is out of range, or `precision` is unknown.
    """
    if not isinstance(iterations, int) or iterations < 1 or kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"iterations={iterations} must be at least 1, kernel_size={kernel_size} odd and at least 3")
    if width < 1:
        raise ValueError(f"width={width} must be at least 1")
    if precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision={precision} is unknown: choose auto, fp32 or bf16")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kernel = None if psf is None else torch.tensor(validate_psf(image, psf), dtype=torch.float32, device=device)
    side = (kernel_size, kernel_size) if kernel is None else tuple(kernel.shape)
    blurred = torch.tensor(image.transpose(2, 0, 1)[None], dtype=torch.float32, device=device)
    bf16 = precision == "bf16" or (precision == "auto" and torch.device(device).type == "cpu" and cpu_has_bf16())
    rows, columns = (slice(k // 2, k // 2 + length) for k, length in zip(side, image.shape, strict=False))
    average = mean = None
    variance = 0.0
    for i, output in enumerate(_fit(blurred, kernel, side, iterations=iterations, width=width, bf16=bf16, seed=seed)):
        output = output[..., rows, columns]
        average = output if average is None or i <= WARM_UP else torch.lerp(output, average, 0.99)
        mean = output if mean is None else mean
        difference = output - mean
        squares = difference.square().mean().item()
        variance = (1 - _VARIANCE_WEIGHT) * (variance + _VARIANCE_WEIGHT * squares)
        mean = mean + _VARIANCE_WEIGHT * difference
        yield Iterate(average, variance)


def _fit(
    blurred: Tensor,
    kernel: Tensor | None,
    side: tuple[int, ...],
    *,
    iterations: int,
    width: int,
    bf16: bool,
    seed: int,
) -> Iterator[Tensor]:
    """Yield after each iteration the restored image, larger than `blurred` by the psf's border."""
    device, size = blurred.device, [length + k - 1 for length, k in zip(blurred.shape[-2:], side, strict=True)]
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = SkipNetwork(width=width).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        psf_network = kernel_network(side[0]).to(device) if kernel is None else None
    shape = [max(2, -(-n // _STRIDE)) * _STRIDE for n in size]
    code = 0.1 * torch.rand(1, _INPUT, *shape, generator=random).to(device)
    psf_code = torch.rand(200, generator=random).to(device)
    groups = [{"params": network.parameters(), "lr": 1e-2}]
    if psf_network is not None:
        groups.append({"params": psf_network.parameters(), "lr": 1e-4})
    optimizer = torch.optim.Adam(groups, fused=True)
    milestones = [round(iterations * fraction) for fraction in (0.4, 0.6, 0.8)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.5)
    for _ in range(iterations):
        noise = 1e-3 * torch.randn(code.shape, generator=random).to(device)
        noisy = (code + noise).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext():
            restored = network(noisy)
        restored = restored.float()[..., : size[0], : size[1]]
        psf = kernel if psf_network is None else psf_network(psf_code).view(side)
        # conv2d is a cross-correlation; flipping the psf makes it a convolution.
        reblurred = F.conv2d(restored.transpose(0, 1), psf.flip(0, 1)[None, None]).transpose(0, 1)  # type: ignore[union-attr]
        loss = F.mse_loss(reblurred, blurred)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        yield restored.detach()


def _conv_norm_relu(channels: int, width: int, side: int, *, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, width, side, stride, side // 2, padding_mode="reflect"),
        nn.BatchNorm2d(width),
        nn.LeakyReLU(0.2),
    )
