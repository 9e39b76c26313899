"""Tiling: exact if the overlap covers the receptive radius, blended otherwise."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.config import instantiate
from deblurlab.errors import UserError
from deblurlab.inference import engines
from deblurlab.inference.engines import Engine, Ensemble, Torch, measure_receptive_radius
from deblurlab.inference.tiling import Tiling, choose_tiling, restore_rows, seam_error
from deblurlab.media.pixels import InMemory
from deblurlab.models import FPNMobileNet
from deblurlab.models.padding import set_attributes
from plain_models import Strided
from support import config, small

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)


def _engine(model: str, *options: str, precision: str = "fp32") -> Torch:
    torch.manual_seed(0)
    network = instantiate(config(f"model={model}", *(options or small(f"model={model}"))).model)
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0, 0.2 if parameter.dim() == 1 else 0.1)
    return Torch(network, CPU, precision=precision)


def _restored(engine: Engine, image: np.ndarray, tiling: Tiling, strength: float = 1.0) -> np.ndarray:
    bands = list(restore_rows(engine, InMemory(image, min(3, image.shape[2])), tiling, strength=strength))
    assert np.array_equal(np.concatenate([blurred for blurred, _ in bands]), image)
    return np.concatenate([restored for _, restored in bands])


@pytest.mark.parametrize(("kernel", "dilation", "expected"), [(3, 1, 1), (5, 1, 2), (3, 4, 4), (1, 1, 0)])
def test_receptive_radius_of_a_convolution(kernel: int, dilation: int, expected: int) -> None:
    convolution = nn.Conv2d(3, 3, kernel, padding="same", dilation=dilation)
    assert measure_receptive_radius(lambda image: convolution(image).detach(), 1) == expected


def test_receptive_radius_of_an_encoder_and_decoder() -> None:
    """Two 3x3 convolutions of stride 2 depend on 1 + 2 pixels to the left, two upsamplings on none: 4 by the stride."""
    layers = [nn.Conv2d(3, 3, 3, stride=2, padding=1) for _ in range(2)] + [
        nn.Upsample(scale_factor=2) for _ in range(2)
    ]
    network = nn.Sequential(*layers)
    with torch.no_grad():
        found = measure_receptive_radius(network, 4)
    assert found == 4


def test_a_receptive_radius_above_the_limit_counts_as_global(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "MAX_RADIUS", 16)
    for radius, expected in ((15, 15), (17, None)):
        convolution = nn.Conv2d(3, 3, 2 * radius + 1, padding="same")
        found = measure_receptive_radius(lambda image, layer=convolution: layer(image).detach(), 1)
        assert found == expected


@pytest.mark.parametrize("network", [nn.InstanceNorm2d(3), nn.AdaptiveAvgPool2d(1)])
def test_global_networks_have_no_receptive_radius(network: nn.Module) -> None:
    with torch.no_grad():
        assert measure_receptive_radius(lambda image: image + network(image), 1) is None


@pytest.mark.parametrize("shape", [(391, 390, 3), (261, 391, 3), (258, 403, 1), (200, 333, 3)])
@pytest.mark.parametrize(
    ("model", "ensemble", "precision"),
    [
        ("unet_res", False, "fp32"),
        ("unet", False, "fp32"),
        ("unet_res", True, "fp32"),
        ("unet_res", False, "bf16"),
        pytest.param("unet", True, "fp32", marks=pytest.mark.slow),
    ],
)
def test_exact_tiles_equal_the_whole_image_bit_for_bit(
    model: str, shape: tuple[int, int, int], ensemble: bool, precision: str
) -> None:
    engine: Engine = _engine(model, "model.width=8", "model.depth=2", "model.blocks=1", precision=precision)
    engine = Ensemble(engine) if ensemble else engine
    image = RNG.integers(0, 1 << 16, shape, np.uint16)
    whole = _restored(engine, image, Tiling(0, 0, True))
    assert np.abs(whole.astype(int) - image).mean() > 100  # the network changes the image
    tiling = choose_tiling(engine, *shape[:2], tile=136)
    assert tiling.exact
    assert tiling.tile == 136
    assert np.array_equal(_restored(engine, image, tiling), whole)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_blending_an_identity_keeps_the_image(dtype: type) -> None:
    """The weights sum to 1, in corners too."""

    class Same(Engine):
        multiple_of = 8

        def __call__(self, blurred: Tensor) -> Tensor:
            return blurred

    image = RNG.integers(0, 256, (150, 217, 3)).astype(dtype) / (1 if dtype == np.uint8 else 255)
    restored = _restored(Same(), image.astype(dtype), Tiling(32, 16, False))
    assert np.allclose(restored, image, atol=1e-6)


def test_small_overlaps_are_blended_and_their_error_is_measured() -> None:
    engine = _engine("unet_res", "model.width=8", "model.depth=3", "model.blocks=2")
    image = RNG.integers(0, 256, (512, 640, 3), np.uint8)
    tiling = choose_tiling(engine, 512, 640, tile=256, overlap=32)
    assert not tiling.exact
    whole = _restored(engine, image, Tiling(0, 0, True)).astype(int)
    difference = np.abs(_restored(engine, image, tiling).astype(int) - whole)
    assert 0 < difference[:, 256 - 32 : 256 + 32].mean() < 0.1 * np.abs(whole - image).mean()
    assert difference[100:140, 100:140].max() <= 1  # rounding only, far from all seams
    message = seam_error(engine, image, tiling)
    assert "blended over 32" in message
    assert "of 255 levels on average" in message


class Unknown(Engine):
    """Engine without a known receptive radius."""

    multiple_of = 4


def test_small_images_are_not_tiled() -> None:
    engine = _engine("unet_res")
    assert choose_tiling(engine, 100, 100).tile == 0
    assert choose_tiling(engine, 5000, 100, tile=0).tile == 0
    assert choose_tiling(engine, 5000, 5000).tile % engine.multiple_of == 0


@pytest.mark.parametrize(
    ("tile", "overlap", "message", "smallest"),
    [
        (1, None, "--tile 1 is too small for a network of stride 4: use at least 4", 4),
        (96, 96, "--tile 96 is too small for a network of stride 4 and --overlap 96: use at least 192", 192),
        (100, 63, "--tile 100 is too small for a network of stride 4 and --overlap 63: use at least 128", 128),
        (None, 1000, "--tile auto is too small for a network of stride 4 and --overlap 1000: use at least 2000", 2000),
    ],
)
def test_tiles_whose_ramps_would_overlap_are_refused(
    tile: int | None, overlap: int | None, message: str, smallest: int
) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        choose_tiling(Unknown(), 5000, 5000, tile=tile, overlap=overlap)
    assert choose_tiling(Unknown(), 5000, 5000, tile=smallest, overlap=overlap).tile == smallest
    with pytest.raises(UserError, match=f"use at least {smallest}"):
        choose_tiling(Unknown(), 5000, 5000, tile=smallest - 1, overlap=overlap)


def test_only_one_row_of_windows_is_read_ahead() -> None:
    read: list[int] = []

    class Counted(InMemory):
        def read(self, count: int) -> np.ndarray:
            read.append(count)
            return super().read(count)

    engine = _engine("unet_res")
    bands = restore_rows(engine, Counted(np.zeros((640, 64, 3), np.uint8)), Tiling(64, 16, True))
    next(bands)
    assert sum(read) == 80
    assert sum(len(restored) for _, restored in bands) == 640 - 64


@pytest.mark.parametrize(("strength", "expected"), [(0.0, 100), (0.25, 125), (1.0, 200)])
def test_strength_interpolates_between_blurred_and_restored(strength: float, expected: int) -> None:
    class Brighter(Engine):
        def __call__(self, blurred: Tensor) -> Tensor:
            return 2 * blurred

    image = np.full((20, 20, 3), 100, np.uint8)
    assert np.all(_restored(Brighter(), image, Tiling(0, 0, True), strength) == expected)


def test_the_ensemble_is_the_mean_over_flips_and_quarter_turns() -> None:
    """The engine adds the row's index; its mean over four directions is the same everywhere."""

    class Rows(Engine):
        def __call__(self, blurred: Tensor) -> Tensor:
            return blurred + torch.arange(blurred.shape[2])[:, None]

    image = torch.rand(1, 3, 6, 6)
    assert torch.allclose(Ensemble(Rows())(image), image + 2.5)


@torch.no_grad()
def test_the_ensemble_pads_as_the_network_does() -> None:
    torch.manual_seed(0)
    network = Strided().eval()
    set_attributes(network, {"multiple_of": 4, "padding": "zeros"})
    image = torch.rand(1, 3, 10, 7)
    padded = F.pad(image, (0, 1, 0, 2))
    expected = torch.zeros_like(padded)
    for turns in range(4):
        for flipped in ([], [3]):
            view = padded.rot90(turns, (2, 3)).flip(flipped)
            expected += network(view).flip(flipped).rot90(-turns, (2, 3)) / 8
    assert torch.allclose(Ensemble(Torch(network, CPU))(image), expected[..., :10, :7], atol=1e-6)


@torch.no_grad()
def test_the_ensemble_leaves_padding_to_networks_that_always_pad() -> None:
    class Sizes(nn.Module):
        def forward(self, blurred: Tensor) -> Tensor:
            sizes.add(tuple(blurred.shape[2:]))
            return blurred

    sizes: set[tuple[int, ...]] = set()
    network = set_attributes(Sizes().eval(), {"multiple_of": 32, "padding": "grey", "always_pad": True})
    image = torch.rand(1, 3, 70, 100)
    assert torch.allclose(Ensemble(Torch(network, CPU))(image), image)
    assert sizes == {(96, 128), (128, 96)}


@pytest.mark.parametrize("padding", ["grey", "zeros", "replicate"])
def test_exact_tiles_equal_the_whole_image_with_any_padding(padding: str) -> None:
    engine = _engine("unet_res", "model.width=8", "model.depth=2", "model.blocks=1")
    set_attributes(engine._network, {"padding": padding, "always_pad": True})
    image = RNG.integers(0, 1 << 16, (391, 390, 3), np.uint16)
    tiling = choose_tiling(engine, 391, 390, tile=136)
    assert tiling.exact
    assert np.array_equal(_restored(engine, image, tiling), _restored(engine, image, Tiling(0, 0, True)))


def test_tiles_of_a_network_with_statistics_of_the_image_are_blended() -> None:
    engine = Torch(FPNMobileNet(pyramid=16, width=8, norm="none", batch_statistics=True), CPU)
    assert engine.receptive_radius is None
    assert not choose_tiling(engine, 500, 500, tile=256).exact
    assert all(value.isfinite().all() for value in engine._network.state_dict().values())
