"""PSNR and SSIM against scikit-image, an independent implementation."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
import torch
from hydra.utils import instantiate
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchvision.models.vgg import cfgs, make_layers

from deblurlab.errors import UserError
from deblurlab.metrics import Protocol, perceptual, psnr, ssim
from deblurlab.metrics import protocol as measuring
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


def test_psnr_is_that_of_scikit_image_for_every_image(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    expected = [peak_signal_noise_ratio(sharp, restored) for restored, sharp in pairs]
    found = psnr(_tensor(*(r for r, _ in pairs)), _tensor(*(s for _, s in pairs)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_ssim_is_that_of_scikit_image_for_every_image(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    expected = [
        structural_similarity(
            sharp, restored, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for restored, sharp in pairs
    ]
    found = ssim(_tensor(*(r for r, _ in pairs)), _tensor(*(s for _, s in pairs)))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


def test_psnr_by_hand() -> None:
    sharp = torch.zeros(2, 3, 4, 4)
    restored = sharp.clone()
    restored[0] = 10 / 255
    values = psnr(restored, sharp)
    assert values[0].item() == pytest.approx(20 * np.log10(255 / 10))
    assert values[1].item() == float("inf")


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_images_are_judged_as_the_files_they_become(metric: object) -> None:
    """What is out of range is clamped, what lies between two levels rounded."""
    sharp = torch.rand(1, 3, 16, 16)
    restored = sharp + 0.4 * torch.randn_like(sharp)
    as_file = (restored.clamp(0, 1) * 255).round() / 255
    assert torch.equal(metric(restored, sharp), metric(as_file, sharp))  # type: ignore[operator]


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_shapes_that_differ_are_refused(metric: object) -> None:
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


def test_ssim_of_a_volume_is_the_slow_formula() -> None:
    """Every window by itself, in float64, from the definition."""
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 256, (12, 14, 3)).astype(float) for _ in range(2))
    y = 0.7 * x + 0.3 * y
    window, c1, c2 = _volume_window(), (0.01 * 255) ** 2, (0.03 * 255) ** 2
    wide = [np.pad(image, 5, mode="edge") for image in (x, y)]
    values = []
    for place in np.ndindex(x.shape):
        p, q = (w[tuple(slice(i, i + 11) for i in place)] for w in wide)
        mean_p, mean_q = (window * p).sum(), (window * q).sum()
        var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
        covariance = (window * (p - mean_p) * (q - mean_q)).sum()
        values.append(
            (2 * mean_p * mean_q + c1) * (2 * covariance + c2) / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2))
        )
    found = ssim_matlab_rgb(*(torch.from_numpy(image).permute(2, 0, 1)[None] for image in (x, y)))
    assert found.item() == pytest.approx(np.mean(values), abs=1e-10)


def test_y_is_matlabs() -> None:
    """rgb2ycbcr's documentation: black is 16, white 235; a pure red by hand."""
    colours = torch.tensor([[0.0, 0, 0], [255, 255, 255], [255, 0, 0]]).T.view(1, 3, 1, 3).double()
    assert luma(colours).flatten().tolist() == pytest.approx([16, 235, 16 + 65.481])


def _protocol(**settings: object) -> Protocol:
    return Protocol(metrics=("psnr",), **settings)  # type: ignore[arg-type]


def test_what_becomes_of_values_between_two_levels() -> None:
    """3/4 of a level above the truth: rounded it is one level off, truncated none, as it is three quarters."""
    sharp = torch.full((3, 16, 16), 100 / 255)
    restored = torch.full((3, 16, 16), 100.75 / 255)
    found = {q: _protocol(quantise=q).measure(restored, [sharp])["psnr"] for q in ("round", "truncate", "none")}
    assert found["round"] == pytest.approx(20 * np.log10(255))
    assert found["truncate"] == float("inf")
    assert found["none"] == pytest.approx(20 * np.log10(255 / 0.75), abs=1e-4)


def test_a_border_is_left_out() -> None:
    sharp = torch.zeros(3, 20, 20)
    restored = sharp.clone()
    restored[:, :4] = 1.0
    assert _protocol(border=4).measure(restored, [sharp])["psnr"] == float("inf")
    assert _protocol(border=3).measure(restored, [sharp])["psnr"] < 30


def test_the_best_of_several_sharp_images_counts() -> None:
    restored = torch.full((3, 16, 16), 0.5)
    near, far = restored + 4 / 255, restored + 40 / 255
    protocol = Protocol(metrics=("psnr", "ssim"))
    together = protocol.measure(restored, [far, near])
    assert together["psnr"] == protocol.measure(restored, [near])["psnr"]


def test_alignment_undoes_a_shift_and_a_change_of_brightness() -> None:
    photo = torch.from_numpy(skimage.data.astronaut()[50:250, 100:300]).permute(2, 0, 1) / 255
    moved = torch.from_numpy(np.roll(skimage.data.astronaut(), (2, -3), (0, 1))[50:250, 100:300].copy())
    moved = 0.9 * moved.permute(2, 0, 1) / 255
    as_it_is = _protocol().measure(moved, [photo])["psnr"]
    found = Protocol(metrics=("psnr", "ssim"), align=True).measure(moved, [photo])
    assert as_it_is < 20
    assert found["psnr"] > as_it_is + 12
    assert found["ssim"] > 0.95


def test_images_with_nothing_in_common_cannot_be_aligned() -> None:
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
        ({"align": True}, "ssim_matlab_rgb can't"),
    ],
)
def test_protocols_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Protocol(**settings)


def test_nan_is_no_image() -> None:
    restored = torch.rand(3, 16, 16)
    restored[0, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="holds NaN"):
        _protocol().measure(restored, [torch.rand(3, 16, 16)])


@pytest.mark.parametrize("name", option_names("protocol"))
def test_every_protocol_says_what_it_does(name: str) -> None:
    protocol = instantiate(config(f"protocol={name}", name="evaluate").protocol, _convert_="all")
    said = protocol.describe()
    assert set(protocol.metrics) <= set(said)
    assert "8" in said["range"]


def test_metrics_without_their_networks_give_reasons_instead_of_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    for forget in (measuring._unavailable_reason, perceptual._lpips, perceptual._dists):
        forget.cache_clear()
    protocol = Protocol(metrics=("psnr", "lpips_alex", "dists"))
    images = torch.rand(3, 64, 64), [torch.rand(3, 64, 64)]
    assert set(protocol.measure(*images)) == {"psnr"}
    assert set(protocol.unavailable) == {"lpips_alex", "dists"}
    assert "alexnet" in protocol.unavailable["lpips_alex"]
    assert "vgg16" in protocol.unavailable["dists"]
    measuring._unavailable_reason.cache_clear()


def test_perceptual_metrics_are_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights below: zero for equal images, and what the package's own call gives."""
    network = perceptual.lpips_network("alex", "random", key="test")
    monkeypatch.setattr(perceptual, "_lpips", lambda net: network)
    x, y = (torch.randint(0, 256, (2, 3, 64, 64)).double() for _ in range(2))
    assert torch.allclose(perceptual.lpips(x, x, "alex"), torch.zeros(2).double(), atol=1e-6)
    theirs = network(x.float() / 255, y.float() / 255, normalize=True).flatten()
    assert torch.allclose(perceptual.lpips(x, y, "alex").float(), theirs, atol=1e-5)


def test_dists_is_torchmetrics_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """On features of random weights; torchmetrics brings the weights of the metric itself."""
    layers = make_layers(cfgs["D"])
    module = importlib.import_module("torchmetrics.functional.image.dists")
    monkeypatch.setattr(module, "vgg16", lambda weights: SimpleNamespace(features=layers))
    monkeypatch.setattr(perceptual, "read_weights", lambda *arguments, **options: {})
    perceptual._dists.cache_clear()
    x, y = (torch.randint(0, 256, (1, 3, 64, 64)).double() for _ in range(2))
    assert perceptual.dists(x, x).item() == pytest.approx(0, abs=1e-5)
    theirs = module.deep_image_structure_and_texture_similarity(x.float() / 255, y.float() / 255)
    assert perceptual.dists(x, y).item() == pytest.approx(theirs.item(), abs=1e-6)
    perceptual._dists.cache_clear()


def test_a_border_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is left of"):
        _protocol(border=8).measure(torch.rand(3, 16, 20), [torch.rand(3, 16, 20)])
