"""Deep image prior (Ulyanov et al., CVPR 2018) and SelfDeblur (Ren et al., CVPR 2020)."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.classical.frequency import Array, validate_psf

_SCALES, _WIDTH, _SKIP, _INPUT = 5, 128, 4, 32
_STRIDE = 2**_SCALES


class SkipNetwork(nn.Module):
    """Encoder-decoder with skip connections, `(B, 32, H, W)` -> `(B, 3, H, W)` in (0, 1).

    Ulyanov, Vedaldi and Lempitsky, "Deep Image Prior", CVPR 2018, in the authors' default configuration: 5 scales of
    128 channels, skip connections of 4 channels, 2,217,831 parameters. H and W are multiples of 32.
    """

    def __init__(self) -> None:
        super().__init__()
        inner: nn.Module = nn.Identity()
        for scale in reversed(range(_SCALES)):
            inner = _Scale(_INPUT if scale == 0 else _WIDTH, inner)
        self.body = inner
        self.head = nn.Conv2d(_WIDTH, 3, 1)

    def forward(self, code: Tensor) -> Tensor:
        """Return the image of an input code."""
        return self.head(self.body(code)).sigmoid()


class _Scale(nn.Module):
    """One scale: downsampling, the inner scales and upsampling, with a skip connection."""

    def __init__(self, channels: int, inner: nn.Module) -> None:
        super().__init__()
        self.across = _conv_norm_relu(channels, _SKIP, 1)
        self.down = nn.Sequential(
            _conv_norm_relu(channels, _WIDTH, 3, stride=2), _conv_norm_relu(_WIDTH, _WIDTH, 3), inner
        )
        self.up = nn.Sequential(
            nn.BatchNorm2d(_SKIP + _WIDTH),
            _conv_norm_relu(_SKIP + _WIDTH, _WIDTH, 3),
            _conv_norm_relu(_WIDTH, _WIDTH, 1),
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


def deep_image_prior(
    image: Array,
    psf: Array | None,
    *,
    iterations: int = 2500,
    kernel_size: int = 21,
    patience: int = 300,
    seed: int = 0,
    device: str = "auto",
) -> Array:
    """Restore an image by fitting an untrained network to it.

    The network G with fixed input z minimises `|h conv G(z) - g|^2` for the blurred image g and the psf h; its
    structure is the image prior (Ulyanov, Vedaldi and Lempitsky, CVPR 2018). Without a psf, `kernel_network` estimates
    h in the same optimisation: SelfDeblur (Ren et al., CVPR 2020, equation 10) with its learning rates, input noise and
    milestones. Unlike in SelfDeblur's published code, the loss is the squared error in all iterations.

    Args:
        image: `(H, W, 3)` in [0, 1].
        psf: `(k, k)`, sum 1; None estimates a psf of `kernel_size`.
        iterations: Maximum number; the learning rate is halved after 40, 60 and 80 % of them.
        kernel_size: Side of the estimated psf, odd.
        patience: The fit stops after this many iterations without a smaller loss, averaged over 50 iterations.
        seed: Seed of the weights and the noise.
        device: Torch device; "auto" uses a GPU if there is one.

    Returns:
        The exponential moving average of the network's outputs, decay 0.99, from iteration 100 on.

    Raises:
        ValueError: The psf is invalid, or a number is out of range.
    """
    if not isinstance(iterations, int) or iterations < 1 or kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"iterations={iterations} must be at least 1, kernel_size={kernel_size} odd and at least 3")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kernel = None if psf is None else torch.tensor(validate_psf(image, psf), dtype=torch.float32, device=device)
    side = (kernel_size, kernel_size) if kernel is None else tuple(kernel.shape)
    blurred = torch.tensor(image.transpose(2, 0, 1)[None], dtype=torch.float32, device=device)
    average: Tensor | None = None
    errors: list[float] = []
    best, best_at = float("inf"), 0
    for i, (restored, error) in enumerate(_fit(blurred, kernel, side, iterations=iterations, seed=seed)):
        average = restored if average is None or i <= 100 else torch.lerp(restored, average, 0.99)
        errors.append(error)
        mean = float(np.mean(errors[-50:]))
        if mean < 0.999 * best:
            best, best_at = mean, i
        elif i - best_at >= patience:
            break
    assert average is not None
    rows, columns = (slice(k // 2, k // 2 + length) for k, length in zip(side, image.shape, strict=False))
    return average[0, :, rows, columns].cpu().double().numpy().transpose(1, 2, 0)


def _fit(
    blurred: Tensor, kernel: Tensor | None, side: tuple[int, ...], *, iterations: int, seed: int
) -> Iterator[tuple[Tensor, float]]:
    """Yield after each iteration the restored image, larger than `blurred` by the psf's border, and the loss."""
    device, size = blurred.device, [length + k - 1 for length, k in zip(blurred.shape[-2:], side, strict=True)]
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = SkipNetwork().to(device)
        psf_network = kernel_network(side[0]).to(device) if kernel is None else None
    shape = [max(2, -(-n // _STRIDE)) * _STRIDE for n in size]
    code = 0.1 * torch.rand(1, _INPUT, *shape, generator=random).to(device)
    psf_code = torch.rand(200, generator=random).to(device)
    groups = [{"params": network.parameters(), "lr": 1e-2}]
    if psf_network is not None:
        groups.append({"params": psf_network.parameters(), "lr": 1e-4})
    optimizer = torch.optim.Adam(groups)
    milestones = [round(iterations * fraction) for fraction in (0.4, 0.6, 0.8)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.5)
    for _ in range(iterations):
        noise = 1e-3 * torch.randn(code.shape, generator=random).to(device)
        restored = network(code + noise)[..., : size[0], : size[1]]
        psf = kernel if psf_network is None else psf_network(psf_code).view(side)
        # conv2d is a cross-correlation; flipping the psf makes it a convolution.
        reblurred = F.conv2d(restored.transpose(0, 1), psf.flip(0, 1)[None, None]).transpose(0, 1)  # type: ignore[union-attr]
        loss = F.mse_loss(reblurred, blurred)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        yield restored.detach(), loss.item()


def _conv_norm_relu(channels: int, width: int, side: int, *, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, width, side, stride, side // 2, padding_mode="reflect"),
        nn.BatchNorm2d(width),
        nn.LeakyReLU(0.2),
    )
