"""PSNR and SSIM against scikit-image, an independent implementation."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchvision.models.vgg import cfgs, make_layers

from deblurlab.config import instantiate
from deblurlab.errors import UserError
from deblurlab.metrics import Protocol, perceptual, psnr, ssim
from deblurlab.metrics import protocol as protocol_module
from deblurlab.metrics.levels import luma
from deblurlab.metrics.ssim import ssim_matlab_rgb
from support import config, option_names


def _tensor(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255


@pytest.fixture(scope="module")
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    photo = skimage.data.chelsea()[:121, :203]
    noisy = np.clip(photo + rng.normal(0, 20, photo.shape), 0, 255).astype(np.uint8)
    shifted = np.roll(photo, 3, axis=1)
    return [(noisy, photo), (shifted, photo), (rng.integers(0, 256, photo.shape, dtype=np.uint8), photo)]


def test_psnr_equals_scikit_image(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    expected = [peak_signal_noise_ratio(sharp, restored) for restored, sharp in pairs]
    values = psnr(_tensor(*(r for r, _ in pairs)), _tensor(*(s for _, s in pairs)))
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-12)


def test_ssim_equals_scikit_image(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    expected = [
        structural_similarity(
            sharp, restored, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for restored, sharp in pairs
    ]
    values = ssim(_tensor(*(r for r, _ in pairs)), _tensor(*(s for _, s in pairs)))
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-9)


def test_psnr_by_hand() -> None:
    sharp = torch.zeros(2, 3, 4, 4)
    restored = sharp.clone()
    restored[0] = 10 / 255
    values = psnr(restored, sharp)
    assert values[0].item() == pytest.approx(20 * np.log10(255 / 10))
    assert values[1].item() == float("inf")


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_images_are_clamped_and_rounded_to_8_bits(metric: object) -> None:
    sharp = torch.rand(1, 3, 16, 16)
    restored = sharp + 0.4 * torch.randn_like(sharp)
    as_file = (restored.clamp(0, 1) * 255).round() / 255
    assert torch.equal(metric(restored, sharp), metric(as_file, sharp))  # type: ignore[operator]


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_different_shapes_are_refused(metric: object) -> None:
    with pytest.raises(ValueError, match="of one shape"):
        metric(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 17))  # type: ignore[operator]


def test_an_image_smaller_than_ssims_window_is_refused() -> None:
    with pytest.raises(ValueError, match="window is 11x11"):
        ssim(torch.rand(1, 3, 10, 30), torch.rand(1, 3, 10, 30))


def _volume_window() -> np.ndarray:
    x = np.arange(11) - 5
    profile = np.exp(-(x**2) / (2 * 1.5**2))
    window = profile[:, None, None] * profile[None, :, None] * profile[None, None, :]
    return window / window.sum()


def test_ssim_of_a_volume_equals_the_definition() -> None:
    """Compute every window separately in float64."""
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 256, (12, 14, 3)).astype(float) for _ in range(2))
    y = 0.7 * x + 0.3 * y
    window, c1, c2 = _volume_window(), (0.01 * 255) ** 2, (0.03 * 255) ** 2
    padded = [np.pad(image, 5, mode="edge") for image in (x, y)]
    values = []
    for position in np.ndindex(x.shape):
        p, q = (w[tuple(slice(i, i + 11) for i in position)] for w in padded)
        mean_p, mean_q = (window * p).sum(), (window * q).sum()
        var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
        covariance = (window * (p - mean_p) * (q - mean_q)).sum()
        values.append(
            (2 * mean_p * mean_q + c1) * (2 * covariance + c2) / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2))
        )
    value = ssim_matlab_rgb(*(torch.from_numpy(image).permute(2, 0, 1)[None] for image in (x, y)))
    assert value.item() == pytest.approx(np.mean(values), abs=1e-10)


def test_luma_equals_matlab() -> None:
    """Black is 16 and white 235 in rgb2ycbcr's documentation; red is computed by hand."""
    colours = torch.tensor([[0.0, 0, 0], [255, 255, 255], [255, 0, 0]]).T.view(1, 3, 1, 3).double()
    assert luma(colours).flatten().tolist() == pytest.approx([16, 235, 16 + 65.481])


def _protocol(**settings: object) -> Protocol:
    return Protocol(metrics=("psnr",), **settings)  # type: ignore[arg-type]


def test_quantisation_of_values_between_two_levels() -> None:
    """The image is 3/4 of a level too bright: rounded 1 level, truncated 0, not quantised 3/4."""
    sharp = torch.full((3, 16, 16), 100 / 255)
    restored = torch.full((3, 16, 16), 100.75 / 255)
    found = {q: _protocol(quantise=q).measure(restored, [sharp])["psnr"] for q in ("round", "truncate", "none")}
    assert found["round"] == pytest.approx(20 * np.log10(255))
    assert found["truncate"] == float("inf")
    assert found["none"] == pytest.approx(20 * np.log10(255 / 0.75), abs=1e-4)


def test_border_is_cropped() -> None:
    sharp = torch.zeros(3, 20, 20)
    restored = sharp.clone()
    restored[:, :4] = 1.0
    assert _protocol(border=4).measure(restored, [sharp])["psnr"] == float("inf")
    assert _protocol(border=3).measure(restored, [sharp])["psnr"] < 30


def test_best_of_several_references_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of constant images by hand: SSIM is (2 x y + C1) / (x^2 + y^2 + C1)."""
    restored, near, far = (torch.full((3, 16, 16), level / 255) for level in (100, 104, 140))
    protocol = Protocol(metrics=("psnr", "ssim"))
    c1 = (0.01 * 255) ** 2
    ssim = (2 * 100 * 104 + c1) / (100**2 + 104**2 + c1)
    for references in ([far, near], [near, far]):
        values = protocol.measure(restored, references)
        assert values == {"psnr": pytest.approx(20 * np.log10(255 / 4)), "ssim": pytest.approx(ssim)}
    network = torch.nn.Identity()
    network.forward = lambda x, y: (x - y).abs().mean()  # type: ignore[method-assign, assignment]
    monkeypatch.setattr(perceptual, "_cached_lpips", lambda net: network)
    monkeypatch.setattr(protocol_module, "_unavailable_reason", lambda name: None)  # not to cache it for other tests
    found = Protocol(metrics=("lpips_alex",)).measure(restored, [far, near, far])
    assert found["lpips_alex"] == pytest.approx(4 / 127.5)  # lower is better


def test_alignment_undoes_a_shift_and_a_change_of_brightness() -> None:
    photo = torch.from_numpy(skimage.data.astronaut()[50:250, 100:300]).permute(2, 0, 1) / 255
    moved = torch.from_numpy(np.roll(skimage.data.astronaut(), (2, -3), (0, 1))[50:250, 100:300].copy())
    moved = 0.9 * moved.permute(2, 0, 1) / 255
    unaligned = _protocol().measure(moved, [photo])["psnr"]
    found = Protocol(metrics=("psnr", "ssim"), align=True).measure(moved, [photo])
    assert unaligned < 20
    assert found["psnr"] > unaligned + 12
    assert found["ssim"] > 0.95


def test_images_without_correlation_cannot_be_aligned() -> None:
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.random((3, 64, 64))).float() for _ in range(2)]
    with pytest.raises(ValueError, match="can't be aligned"):
        _protocol(align=True).measure(torch.zeros(3, 64, 64), images[:1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics": ["psnr", "niqe"]}, "unknown metric niqe; known: psnr, ssim"),
        ({"metrics": []}, "is empty"),
        ({"quantise": "floor"}, "round, truncate"),
        ({"border": -1}, "at least 0"),
        ({"border": 1.5}, "whole number"),
        ({"align": True}, "ssim_matlab_rgb doesn't support"),
    ],
)
def test_invalid_protocols_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Protocol(**settings)


def test_nan_is_refused() -> None:
    restored = torch.rand(3, 16, 16)
    restored[0, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="holds NaN"):
        _protocol().measure(restored, [torch.rand(3, 16, 16)])


@pytest.mark.parametrize("name", option_names("protocol"))
def test_description_of_every_protocol_is_complete(name: str) -> None:
    protocol = instantiate(config(f"protocol={name}", name="evaluate").protocol)
    description = protocol.describe()
    assert set(protocol.metrics) <= set(description)
    assert "8" in description["range"]


def test_metrics_without_weights_are_reported_as_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    for cached in (protocol_module._unavailable_reason, perceptual._cached_lpips, perceptual._cached_dists):
        cached.cache_clear()
    protocol = Protocol(metrics=("psnr", "lpips_alex", "dists"))
    images = torch.rand(3, 64, 64), [torch.rand(3, 64, 64)]
    assert set(protocol.measure(*images)) == {"psnr"}
    assert set(protocol.unavailable) == {"lpips_alex", "dists"}
    assert "alexnet" in protocol.unavailable["lpips_alex"]
    assert "vgg16" in protocol.unavailable["dists"]
    protocol_module._unavailable_reason.cache_clear()


def test_lpips_equals_the_authors_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backbone has random weights."""
    network = perceptual.lpips_network("alex", "random", key="test")
    monkeypatch.setattr(perceptual, "_cached_lpips", lambda net: network)
    x, y = (torch.randint(0, 256, (2, 3, 64, 64)).double() for _ in range(2))
    assert torch.allclose(perceptual.lpips(x, x, "alex"), torch.zeros(2).double(), atol=1e-6)
    expected = network(x.float() / 255, y.float() / 255, normalize=True).flatten()
    assert torch.allclose(perceptual.lpips(x, y, "alex").float(), expected, atol=1e-5)


def test_dists_equals_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backbone has random weights; torchmetrics contains the weights of the metric."""
    layers = make_layers(cfgs["D"])
    module = importlib.import_module("torchmetrics.functional.image.dists")
    monkeypatch.setattr(module, "vgg16", lambda weights: SimpleNamespace(features=layers))
    monkeypatch.setattr(perceptual, "read_weights", lambda *arguments, **options: {})
    perceptual._cached_dists.cache_clear()
    x, y = (torch.randint(0, 256, (1, 3, 64, 64)).double() for _ in range(2))
    assert perceptual.dists(x, x).item() == pytest.approx(0, abs=1e-5)
    expected = module.deep_image_structure_and_texture_similarity(x.float() / 255, y.float() / 255)
    assert perceptual.dists(x, y).item() == pytest.approx(expected.item(), abs=1e-6)
    perceptual._cached_dists.cache_clear()


def test_border_without_remaining_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="protocol.border=8 leaves no pixels of an image of 20x16"):
        _protocol(border=8).measure(torch.rand(3, 16, 20), [torch.rand(3, 16, 20)])
