"""Models against independent implementations of the published architectures.

A model with the renamed weights must give the output of the plain function of the original state dict in `oracles`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import originals
from deblurlab.checkpoints.state_dicts import rename_keys
from deblurlab.checkpoints.tensorflow import load_variables
from deblurlab.models import (
    SRN,
    DeepDeblur,
    FPNInception,
    FPNMobileNet,
    MIMOUNetPlus,
    Model,
    NAFNet,
    ResNet,
    Restormer,
)
from deblurlab.models.padding import set_attributes
from oracles import (
    State,
    deblurgan,
    deblurgan_v2_inception,
    deblurgan_v2_mobilenet,
    deepdeblur,
    mimo_unet,
    nafnet,
    pyramid,
    random_state,
    restormer,
    srn,
)

WITHOUT_BACKBONE: list[tuple[Callable[[], Model], originals.Shapes, Callable[[State, Tensor], Tensor], int]] = [
    (lambda: NAFNet(width=16), originals.nafnet(16), nafnet, 32),
    (Restormer, originals.restormer(), restormer, 16),
    (MIMOUNetPlus, originals.mimo_unet(20), mimo_unet, 16),
    (lambda: MIMOUNetPlus(blocks=8), originals.mimo_unet(8), mimo_unet, 16),
    (ResNet, originals.deblurgan(), deblurgan, 24),
    (lambda: DeepDeblur(border="symmetric"), originals.deepdeblur(), deepdeblur, 24),
]


@pytest.mark.parametrize(
    ("build", "shapes", "oracle", "side"), WITHOUT_BACKBONE, ids=[o.__name__ for _, _, o, _ in WITHOUT_BACKBONE]
)
def test_model_equals_the_published_architecture(
    build: Callable[[], Model], shapes: originals.Shapes, oracle: Callable[[State, Tensor], Tensor], side: int
) -> None:
    state, model = {name: value.double() for name, value in random_state(shapes).items()}, build().double().eval()
    model.load_state_dict(rename_keys(state, model))
    image = torch.rand(2, 3, side, side + 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        actual, expected = model(image), oracle({k: v.double() for k, v in state.items()}, image)
    assert (expected - image).abs().mean() > 1e-3
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_srn_equals_the_published_architecture(tmp_path: Path) -> None:
    """The variables are in TensorFlow's order of dimensions, which `load_variables` changes."""
    state = {name: value.double() for name, value in random_state(originals.srn()).items()}
    np.savez(tmp_path / "srn.npz", **{name: value.numpy() for name, value in state.items()})
    model = SRN(recurrent=False, resize="asymmetric", same_padding=True).double().eval()
    model.load_state_dict(rename_keys(load_variables(tmp_path / "srn.npz"), model))
    image = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        actual, expected = model(image), srn(state, image)
    assert expected.std() > 0.1
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


V2 = [
    (FPNMobileNet, originals.deblurgan_v2_mobilenet(), [(0, 0)] * 5, deblurgan_v2_mobilenet),
    (
        FPNInception, originals.deblurgan_v2_inception(), [(0, 1), (1, 1), (1, 2), (1, 1), (1, 1)],
        deblurgan_v2_inception,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("build", "shapes", "padding", "oracle"), V2, ids=["mobilenet", "inception"])
def test_feature_pyramid_equals_the_published_architecture(
    build: Callable[[], Model],
    shapes: originals.Shapes,
    padding: list[tuple[int, int]],
    oracle: Callable[[State, Tensor], Tensor],
) -> None:
    """The backbones are those of torchvision and timm; this test starts from their five feature maps."""
    state, model = random_state(shapes), build().eval()
    model.load_state_dict(rename_keys(state, model))
    image = torch.rand(1, 3, 128, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = model.feature_maps(2 * image - 1)
        assert [m.shape[1] for m in maps] == list(model.channels)
        actual, expected = model(image), pyramid(maps, padding)(state, image)
    assert (expected - image).abs().mean() > 1e-3
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("build", "shapes", "padding", "oracle"), V2, ids=["mobilenet", "inception"])
def test_deblurgan_v2_with_the_statistics_of_each_image_equals_the_published_prediction(
    build: Callable[..., Model],
    shapes: originals.Shapes,
    padding: list[tuple[int, int]],
    oracle: Callable[[State, Tensor], Tensor],
) -> None:
    """`predict.py`: training mode, one image at a time, sides n padded with 0 in [-1, 1] to (n // 32 + 1) * 32."""
    state = {
        name: value.double() if value.is_floating_point() else value for name, value in random_state(shapes).items()
    }
    with torch.device("meta"):
        model = build(batch_statistics=True).eval()
    model.load_state_dict({name: value.clone() for name, value in rename_keys(state, model).items()}, assign=True)
    set_attributes(model, {"padding": "grey", "always_pad": True})
    images = torch.rand(2, 3, 128, 100, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    images[1] *= 0.5
    with torch.no_grad():
        actual = model(images)
        for image, restored in zip(images, actual, strict=True):
            padded = (F.pad(2 * image - 1, (0, 28, 0, 32)) + 1) / 2
            expected = oracle(state, padded[None])[0, :, :128, :100]
            assert (expected - image).abs().mean() > 1e-3
            torch.testing.assert_close(restored, expected, rtol=1e-9, atol=1e-9)
    for name, value in rename_keys(state, model).items():
        assert torch.equal(model.state_dict()[name], value), name  # running statistics, too
