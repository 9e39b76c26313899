"""Deblurring with an untrained network: its structure is the prior."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.classical.frequency import Array, checked

_SCALES, _WIDTH, _SKIP, _INPUT = 5, 128, 4, 32
_STRIDE = 2**_SCALES


class SkipNetwork(nn.Module):
    """The hourglass of Ulyanov, Vedaldi and Lempitsky, "Deep Image Prior" (CVPR 2018), as its authors use it for most
    tasks: 5 scales of 128 channels, 4 channels of each scale skipped across, 2,217,831 parameters. `(B, 32, H, W)` ->
    `(B, 3, H, W)` in (0, 1); H and W are multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        inside: nn.Module = nn.Identity()
        for scale in reversed(range(_SCALES)):
            inside = _Scale(_INPUT if scale == 0 else _WIDTH, inside)
        self.body = inside
        self.head = nn.Conv2d(_WIDTH, 3, 1)

    def forward(self, code: Tensor) -> Tensor:
        return self.head(self.body(code)).sigmoid()


class _Scale(nn.Module):
    """Half the size, whatever is inside, and back, beside a way across."""

    def __init__(self, channels: int, inside: nn.Module) -> None:
        super().__init__()
        self.across = _unit(channels, _SKIP, 1)
        self.down = nn.Sequential(_unit(channels, _WIDTH, 3, stride=2), _unit(_WIDTH, _WIDTH, 3), inside)
        self.up = nn.Sequential(
            nn.BatchNorm2d(_SKIP + _WIDTH), _unit(_SKIP + _WIDTH, _WIDTH, 3), _unit(_WIDTH, _WIDTH, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        deep = F.interpolate(self.down(x), scale_factor=2, mode="bilinear", align_corners=False)
        return self.up(torch.cat([self.across(x), deep], dim=1))


def kernel_network(side: int) -> nn.Module:
    """`(200,)` -> `(side^2,)`, summing to 1: the kernel's prior of Ren et al., "Neural Blind Deconvolution Using Deep
    Priors" (CVPR 2020): one hidden layer of 1000."""
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
    """The image, made by a `SkipNetwork` from fixed noise, whose blur is nearest to what is seen: the network's weights
    are fitted to this one image. Without a psf a `kernel_network` is fitted along (SelfDeblur, Ren et al., CVPR 2020,
    equation 10), with its steps, noise and milestones; the loss is the squared error throughout.

    Args:
        image: `(H, W, 3)` in [0, 1].
        psf: `(k, k)`, summing to 1; None estimates one of `kernel_size`.
        iterations: At most; the learning rate halves after 40, 60 and 80 % of them.
        kernel_size: Odd.
        patience: Iterations without a smaller mean error over 50 of them, after which it stops.
        seed: Of weights and noise.
        device: "auto" takes a GPU if there is one.

    Returns:
        The mean of what the network made, over the last iterations with weights that fall off by 0.99 each.

    Raises:
        ValueError: The kernel is none, or a number is out of range.
    """
    if not isinstance(iterations, int) or iterations < 1 or kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"iterations={iterations} must be at least 1, kernel_size={kernel_size} odd and at least 3")
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else torch.device(device)
    kernel = None if psf is None else torch.tensor(checked(image, psf), dtype=torch.float32, device=where)
    side = (kernel_size, kernel_size) if kernel is None else tuple(kernel.shape)
    seen = torch.tensor(image.transpose(2, 0, 1)[None], dtype=torch.float32, device=where)
    average: Tensor | None = None
    errors: list[float] = []
    best, best_at = float("inf"), 0
    for i, (made, error) in enumerate(_fits(seen, kernel, side, iterations=iterations, seed=seed)):
        average = made if average is None or i <= 100 else torch.lerp(made, average, 0.99)
        errors.append(error)
        mean = float(np.mean(errors[-50:]))
        if mean < 0.999 * best:
            best, best_at = mean, i
        elif i - best_at >= patience:
            break
    assert average is not None
    rows, columns = (slice(k // 2, k // 2 + length) for k, length in zip(side, image.shape, strict=False))
    return average[0, :, rows, columns].cpu().double().numpy().transpose(1, 2, 0)


def _fits(
    seen: Tensor, kernel: Tensor | None, side: tuple[int, ...], *, iterations: int, seed: int
) -> Iterator[tuple[Tensor, float]]:
    """After each iteration what the network made, as far as its blur reaches into the frame, and the squared error."""
    where, size = seen.device, [length + k - 1 for length, k in zip(seen.shape[-2:], side, strict=True)]
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = SkipNetwork().to(where)
        kernels = kernel_network(side[0]).to(where) if kernel is None else None
    shape = [max(2, -(-n // _STRIDE)) * _STRIDE for n in size]
    code = 0.1 * torch.rand(1, _INPUT, *shape, generator=random).to(where)
    thought = torch.rand(200, generator=random).to(where)
    groups = [{"params": network.parameters(), "lr": 1e-2}]
    if kernels is not None:
        groups.append({"params": kernels.parameters(), "lr": 1e-4})
    optimizer = torch.optim.Adam(groups)
    milestones = [round(iterations * share) for share in (0.4, 0.6, 0.8)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.5)
    for _ in range(iterations):
        noise = 1e-3 * torch.randn(code.shape, generator=random).to(where)
        made = network(code + noise)[..., : size[0], : size[1]]
        now = kernel if kernels is None else kernels(thought).view(side)
        # conv2d correlates; a psf is convolved with.
        blurred = F.conv2d(made.transpose(0, 1), now.flip(0, 1)[None, None]).transpose(0, 1)  # type: ignore[union-attr]
        loss = F.mse_loss(blurred, seen)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        yield made.detach(), loss.item()


def _unit(channels: int, width: int, side: int, *, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, width, side, stride, side // 2, padding_mode="reflect"),
        nn.BatchNorm2d(width),
        nn.LeakyReLU(0.2),
    )
