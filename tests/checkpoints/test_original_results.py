"""Published files, converted or used directly, give the results of the original projects' code on the command line.

The weights are random. The expected image comes from `oracles` and from NumPy's padding, as each project pads.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

import oracles
import originals
from deblurlab.checkpoints.load import load_model
from deblurlab.checkpoints.release import write_release
from deblurlab.cli.convert import weights as weights_command
from deblurlab.cli.restore import restore as restore_command
from deblurlab.config import compose, instantiate
from oracles import State

RNG = np.random.default_rng(0)


def _next_multiple(multiple: int) -> Callable[[int], int]:
    return lambda side: -(-side // multiple) * multiple


def _always_more(side: int) -> int:
    """`predict.py` of DeblurGAN-v2."""
    return (side // 32 + 1) * 32


class Published(NamedTuple):
    """A published file and what the original code does with an image."""

    shapes: originals.Shapes
    key: str | None
    """Key of the state dict in the file; "npz" for TensorFlow's variables."""
    network: Callable[[State, Tensor], Tensor]
    last: tuple[str, ...]
    """Last layers of the network, whose weights are scaled to keep the restored image in range."""
    size: tuple[int, int]
    side: Callable[[int], int] = _next_multiple(1)
    """Side after padding."""
    pad: str = "edge"
    """Argument `mode` of `np.pad`."""
    value: float = 0.0
    """Value of constant padding."""
    is_residual: bool = True
    grey: float = 0.5
    """Mid-grey in the range of the last layer."""


PUBLISHED = {
    "nafnet_16": Published(
        originals.nafnet(16), "params", oracles.nafnet, ("ending",), (37, 50), _next_multiple(16), "constant"
    ),
    "nafnet_32": Published(
        originals.nafnet(32), "params", oracles.nafnet, ("ending",), (37, 50), _next_multiple(16), "constant"
    ),
    "restormer": Published(
        originals.restormer(), "params", oracles.restormer, ("output",), (21, 30), _next_multiple(8), "reflect"
    ),
    "mimo_unet": Published(originals.mimo_unet(8), "model", oracles.mimo_unet, ("feat_extract.5.main.0",), (24, 40)),
    "mimo_unet_plus": Published(
        originals.mimo_unet(20), "model", oracles.mimo_unet, ("feat_extract.5.main.0",), (24, 40)
    ),
    "resnet": Published(originals.deblurgan(), None, oracles.deblurgan, ("model.26",), (24, 40)),
    "deepdeblur": Published(
        originals.deepdeblur(), "G", oracles.deepdeblur, tuple(f"body_models.{i}.body.20" for i in range(3)), (25, 38),
        _next_multiple(4), is_residual=False, grey=0.0,
    ),
    "srn": Published(
        originals.srn(), "npz", oracles.srn, ("g_net/dec1_0",), (37, 50), _next_multiple(16), is_residual=False
    ),
    "fpn_mobilenet": Published(
        originals.deblurgan_v2_mobilenet(), "model", oracles.deblurgan_v2_mobilenet, ("final",), (64, 50), _always_more,
        "constant", 0.5,
    ),
    "fpn_inception": Published(
        originals.deblurgan_v2_inception(), "model", oracles.deblurgan_v2_inception, ("final",), (128, 100),
        _always_more, "constant", 0.5,
    ),
}  # fmt: skip
QUICK = {"nafnet_16", "srn", "fpn_mobilenet", "mimo_unet"}


def _original(published: Published, state: State, image: np.ndarray) -> np.ndarray:
    """Return the image in [0, 1] that the original code restores from an 8-bit one, `(H, W, 3)`."""
    height, width = image.shape[:2]
    ends = (0, published.side(height) - height), (0, published.side(width) - width), (0, 0)
    constant = {"constant_values": published.value} if published.pad == "constant" else {}
    padded = torch.from_numpy(np.pad(image / 255, ends, mode=published.pad, **constant))
    double = {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
    with torch.no_grad():
        restored = published.network(double, padded.permute(2, 0, 1)[None])
    return restored[0].permute(1, 2, 0).numpy()[:height, :width]


def _scale_last_layers(published: Published, state: State, image: np.ndarray) -> None:
    """Scale the output or, of a residual network, the residual to a standard deviation of about 0.1."""
    weight, bias = ("/weights", "/biases") if published.key == "npz" else (".weight", ".bias")
    for name in published.last:
        state[name + weight] *= 1e-4  # where tanh is linear
        if name + bias in state:
            state[name + bias].fill_(0.0 if published.is_residual else published.grey)
    change = _original(published, state, image) - (image / 255 if published.is_residual else 0)
    for name in published.last:
        state[name + weight] *= 0.1 / change.std((0, 1)).mean()


def _save(published: Published, state: State) -> Path:
    if published.key == "npz":
        np.savez("published.npz", **{name: value.numpy() for name, value in state.items()})
        return Path("published.npz")
    wrapped = {f"module.{name}": value for name, value in state.items()}  # trained on several GPUs
    torch.save({published.key: wrapped, "epoch": 3} if published.key else wrapped, "published.pth")
    return Path("published.pth")


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in PUBLISHED]
)
def test_a_published_file_restores_as_the_original_code_does(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    published, state = PUBLISHED[model], oracles.random_state(PUBLISHED[model].shapes)
    image = RNG.integers(64, 192, (*published.size, 3), np.uint8)
    if model == "srn":
        state["g_net/enc1_1/weights"][:, :, 3:] *= 20  # a visible effect of the coarser scales
    _scale_last_layers(published, state, image)
    expected = (255 * _original(published, state, image).clip(0, 1)).round()
    assert ((expected > 0) & (expected < 255)).mean() > 0.9
    for change in (expected - image, expected):
        assert (change.std((0, 1)) > 10).all()

    file = str(_save(published, state))
    weights_command(["convert", file, "--model", model, "-o", "release"])
    cv2.imwrite("x.png", image[..., ::-1])
    for weights in ("release", file):
        with pytest.raises(SystemExit) as end:
            restore_command(["x.png", "-o", f"restored_{weights}", "--weights", weights, "--device", "cpu"])
        if weights == file and model == "resnet":
            assert "fits several models, resnet, resnet_9blocks" in str(end.value.code)  # CycleGAN's names and shapes
            continue
        assert end.value.code == 0
        restored = cv2.imread(f"restored_{weights}/x.png")[..., ::-1].astype(float)
        assert np.abs(restored - expected).max() <= 1


@pytest.mark.parametrize(
    ("model", "arguments", "before"),
    [
        ("deepdeblur", {"width": 4, "blocks": 1}, {"border": "reflect"}),
        ("srn", {"width": 4, "blocks": 1, "recurrent": True}, {"resize": "half_pixel", "same_padding": False}),
        ("fpn_mobilenet", {"pyramid": 16, "width": 8}, {"batch_statistics": False}),
        ("nafnet_16", {"width": 4, "encoder": [1, 1, 1, 1]}, {}),
    ],
)
def test_a_release_without_the_newer_arguments_keeps_its_results(
    model: str, arguments: dict[str, Any], before: dict[str, Any], tmp_path: Path
) -> None:
    """Older versions padded by reflection, which the expected image is computed with."""
    torch.manual_seed(0)
    target = compose(f"model={model}").model._target_
    network = instantiate({"_target_": target, **arguments, **before}).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    write_release(tmp_path / "release", {"_target_": target, **arguments}, network.state_dict(), {})
    image = torch.rand(1, 3, 37, 50)
    reflected = np.pad(image.numpy(), ((0, 0), (0, 0), (0, 27), (0, 14)), mode="reflect")
    side = network.multiple_of
    padded = torch.from_numpy(reflected)[:, :, : -(-37 // side) * side, : -(-50 // side) * side]
    with torch.no_grad():
        expected = network.restore(padded)[:, :, :37, :50]
        assert torch.equal(load_model(tmp_path / "release")(image), expected)
