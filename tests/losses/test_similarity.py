"""SSIM, MS-SSIM and LPIPS against their formulas and the authors' package."""

from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from deblurlab.losses import LPIPS, MSSSIM, SSIM


@pytest.mark.parametrize("sigma", [1.5, 0.8])
def test_ssim_equals_its_formula_with_scipys_window(sigma: float) -> None:
    """Images are mirrored at their borders; the window has a radius of 3.5 sigma, rounded."""
    restored, sharp = torch.rand(2, 2, 3, 24, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def blur(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, sigma, truncate=3.5, mode="mirror", axes=(-2, -1))

    x, y = restored.numpy(), (0.6 * restored + 0.4 * sharp).numpy()
    mean_x, mean_y = blur(x), blur(y)
    variances = blur(x * x) - mean_x**2 + blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    ssim = (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))
    assert SSIM(sigma=sigma)(torch.from_numpy(x), torch.from_numpy(y)).item() == pytest.approx(1 - ssim.mean())


def test_ms_ssim_equals_its_formula_with_scipys_window() -> None:
    """Contrast and structure of four scales, SSIM of the fifth, with the exponents of the publication."""
    generator = torch.Generator().manual_seed(0)
    restored = torch.rand(1, 1, 96, 96, generator=generator, dtype=torch.float64).repeat_interleave(8, 3)[..., :96]
    sharp = 0.7 * restored + 0.3 * torch.rand(1, 1, 96, 96, generator=generator, dtype=torch.float64)
    c1, c2, product = 0.01**2, 0.03**2, 1.0

    def blur(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, 0.5, truncate=4, mode="mirror")

    for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        x, y = (F.avg_pool2d(image, 2**scale).numpy()[0, 0] for image in (restored, sharp))
        mean_x, mean_y = blur(x), blur(y)
        variances = blur(x * x) - mean_x**2 + blur(y * y) - mean_y**2
        values = (2 * (blur(x * y) - mean_x * mean_y) + c2) / (variances + c2)
        if scale == 4:
            values = values * (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        else:
            values = values[2:-2, 2:-2]
        product *= ((1 + values.mean()) / 2) ** exponent
    assert MSSSIM(sigma=0.5)(restored, sharp).item() == pytest.approx(1 - product)


def test_ssim_of_a_constant_shift_by_hand() -> None:
    """Contrast and structure are 1; luminance is (2ab + c) / (a^2 + b^2 + c)."""
    a, b, c = 0.5, 0.6, 0.01**2
    restored, sharp = (torch.full((1, 1, 64, 64), value, dtype=torch.float64) for value in (a, b))
    luminance = (2 * a * b + c) / (a * a + b * b + c)
    assert SSIM()(restored, sharp).item() == pytest.approx(1 - luminance, abs=1e-9)
    # Only the last of five scales has a luminance factor, with exponent 0.1333; factors are (1 + x) / 2.
    assert MSSSIM(sigma=0.3)(restored, sharp).item() == pytest.approx(1 - ((1 + luminance) / 2) ** 0.1333, abs=1e-6)


def test_lpips_equals_the_authors_package() -> None:
    torch.manual_seed(0)
    term = LPIPS(net="alex", weights="random")
    torch.manual_seed(0)
    expected = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    restored, sharp = torch.rand(2, 2, 3, 48, 48)
    torch.testing.assert_close(term(restored, sharp), expected(2 * restored - 1, 2 * sharp - 1).mean())
    assert term.resolved_settings() == {"weights": "random"}
    assert not term.train().distance.training


def test_lpips_loads_torchvisions_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import alexnet

    from deblurlab.checkpoints import pretrained
    from deblurlab.errors import UserError

    network = alexnet()
    torch.save(network.state_dict(), tmp_path / "alexnet.pth")
    term = LPIPS(weights=str(tmp_path / "alexnet.pth"))
    assert torch.equal(term.distance.net.slice5[0].weight, network.features[10].weight)

    def refuse(url: str) -> dict[str, Tensor]:
        raise OSError("no route to host")

    monkeypatch.setattr(pretrained, "_download", refuse)
    with pytest.raises(
        UserError,
        match=r"alexnet-owt-7be5be79.pth is unavailable \(no route to host\): place https://.* loss.lpips.weights=",
    ):
        LPIPS()
    with pytest.raises(ValueError, match="unknown network 'squeeze'"):
        LPIPS(net="squeeze")  # type: ignore[arg-type]
