"""Networks that spandrel recognises, with random weights in the layout of their projects."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from deblurlab.checkpoints.load import load_model
from deblurlab.checkpoints.recognition import load_with_spandrel
from deblurlab.cli.restore import restore as restore_command
from deblurlab.config import instantiate
from deblurlab.errors import UserError
from security.hostile import bounded
from support import config


@pytest.fixture(scope="module")
def spandrel() -> Any:
    return pytest.importorskip("spandrel")


def _fftformer() -> nn.Module:
    from spandrel.architectures.FFTformer import FFTformer

    return FFTformer(dim=8, num_blocks=[1, 1, 1], num_refinement_blocks=1)


def _uformer() -> nn.Module:
    from spandrel.architectures.Uformer import Uformer

    return Uformer(img_size=128, embed_dim=8, depths=[1] * 9, win_size=8, token_mlp="leff")


def _kbnet() -> nn.Module:
    from spandrel.architectures.KBNet import KBNet_s

    return KBNet_s(width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])


def _nafnet() -> nn.Module:
    """The blocks of the published denoising network, which no option of conf/model has."""
    from spandrel.architectures.NAFNet import NAFNet

    return NAFNet(width=4, middle_blk_num=12, enc_blk_nums=[2, 2, 4, 8], dec_blk_nums=[2, 2, 2, 2])


def _random(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a network whose residual isn't zero, as it is with the first weights of some."""
    torch.manual_seed(0)
    network = make().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    return network


def _pad(image: np.ndarray, side: int) -> np.ndarray:
    """Pad at the bottom and right by reflection, and by the edge where reflection ends."""
    for mode, limit in (("reflect", 2 * min(image.shape[:2]) - 1), ("edge", side)):
        ends = [(0, max(0, min(side, limit) - length)) for length in image.shape[:2]]
        image = np.pad(image, [*ends, (0, 0)], mode=mode)
    return image


NETWORKS = {
    "FFTformer": (_fftformer, None, "", 64),
    "Uformer": (_uformer, "state_dict", "module.", 128),
    "KBNet_s": (_kbnet, "params", "", None),
    "NAFNet": (_nafnet, "params", "", None),
}
"""Constructor, key and prefix of the published file, and the side to which an image of 37x37 is padded by deblurlab."""


@pytest.mark.parametrize("name", NETWORKS)
def test_a_published_file_restores_as_its_network_does(
    spandrel: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, key, prefix, side = NETWORKS[name]
    network = _random(make)
    image = np.random.default_rng(0).integers(64, 192, (37, 37, 3), np.uint8)
    padded = torch.from_numpy(_pad(image, side or 37) / 255).float().permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = network(padded)[0, :, :37, :37].permute(1, 2, 0).clamp(0, 1).numpy()
    assert np.abs(expected - image / 255).mean() > 0.01
    assert expected.std() > 0.03

    state = {prefix + name: value for name, value in network.state_dict().items()}
    torch.save({key: state, "epoch": np.int64(3)} if key else state, "published.pth")
    Image.fromarray(image).save("x.png")
    with pytest.raises(SystemExit) as end:
        restore_command(["x.png", "--weights", "published.pth", "--device", "cpu"])
    assert end.value.code == 0
    restored = np.asarray(Image.open("restored/x.png")) / 255
    assert np.abs(restored - expected).max() <= 1 / 255


def test_a_restorer_takes_the_same_file(spandrel: Any, tmp_path: Path) -> None:
    network = _random(_nafnet)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    restorer = instantiate(config("restorer=checkpoint", f"restorer.path={tmp_path}/a.pth", name="evaluate").restorer)
    image = torch.rand(3, 32, 48)
    with torch.inference_mode():
        expected = network(image[None])[0].clamp(0, 1)
    assert torch.allclose(restorer(image, None).image, expected, atol=1e-5)
    assert restorer.cost()["parameters"] == sum(value.numel() for value in network.parameters())


def test_images_are_padded_to_squares_for_networks_that_need_them(spandrel: Any) -> None:
    network = load_with_spandrel(_random(_uformer).state_dict(), Path("a.pth"))
    seen: list[torch.Size] = []
    network.network.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].shape))
    assert network(torch.rand(2, 3, 40, 150)).shape == (2, 3, 40, 150)
    assert seen == [(2, 3, 256, 256)]
    assert network.multiple_of == 128


def test_networks_that_do_not_restore_rgb_images_are_refused(spandrel: Any) -> None:
    from spandrel.architectures.Compact import Compact
    from spandrel.architectures.NAFNet import NAFNet

    large = Compact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=1, upscale=2)
    with pytest.raises(UserError, match="holds RealESRGAN Compact for 2x super-resolution: deblurlab keeps the size"):
        load_with_spandrel(large.state_dict(), Path("a.pth"))
    grey = NAFNet(img_channel=1, width=4, middle_blk_num=1, enc_blk_nums=[1], dec_blk_nums=[1])
    with pytest.raises(UserError, match="holds NAFNet for other inputs than RGB images"):
        load_with_spandrel(grey.state_dict(), Path("a.pth"))


def test_unknown_networks_name_the_converter(spandrel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "a.pth")
    message = (
        r"a\.pth holds weights of an unknown network \(2 tensors, weight and 1 more\): "
        r"deblurlab weights convert .*a\.pth --model NAME converts the weights of the models of deblurlab"
    )
    with pytest.raises(UserError, match=f"{message}$"):
        load_model(tmp_path / "a.pth")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(UserError, match=rf"{message}; pip install 'deblurlab\[spandrel\]' knows more networks$"):
        load_model(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((3,), torch.nan), "holds NaN or infinity"),
        (torch.ones(3, dtype=torch.int8), "holds weights of the type int8"),
        (torch.ones(1).expand(1 << 40), "holds weights that are larger than their bytes"),
        (torch.ones(4), "holds weights like those of NAFNet, .*; of another shape: ending.bias: correct the weights'"),
    ],
)
def test_other_weights_are_refused(spandrel: Any, value: Tensor, message: str) -> None:
    state = {**_nafnet().state_dict(), "ending.bias": value}
    with pytest.raises(UserError, match=rf"a\.pth .*{message}"):
        load_with_spandrel(state, Path("a.pth"))


def test_shapes_of_a_larger_network_take_no_memory(spandrel: Any) -> None:
    """The width of KBNet comes from one weight: 30,000 are layers of gigabytes."""
    state = _kbnet().state_dict()
    state["intro.weight"] = torch.ones(30_000, 3, 3, 3)
    with bounded(), pytest.raises(UserError, match="its shapes describe a larger network than there are weights for"):
        load_with_spandrel(state, Path("a.pth"))
    blocks = {f"middle_blks.{i}.w": torch.ones(1) for i in range(5000)}
    with bounded(), pytest.raises(UserError, match="its shapes describe a larger network than there are weights for"):
        load_with_spandrel({**_kbnet().state_dict(), **blocks}, Path("a.pth"))


@pytest.mark.parametrize("name", NETWORKS)
def test_missing_and_unexpected_weights_are_named(spandrel: Any, name: str) -> None:
    state: dict[str, Tensor] = NETWORKS[name][0]().state_dict()
    last = [key for key in state if key.endswith("bias")][-1]
    convert = r"deblurlab weights convert a\.pth --model NAME converts the weights of the models of deblurlab"

    def message(differences: str) -> str:
        start = rf"a\.pth holds weights like those of {name[:5]}\w*, but spandrel can't build it; "
        return f"^{start}{differences}: correct the weights' names and shapes; {convert}$"

    with pytest.raises(UserError, match=message(rf"missing: {re.escape(last)}")):
        load_with_spandrel({key: value for key, value in state.items() if key != last}, Path("a.pth"))
    with pytest.raises(UserError, match=message("unexpected: foo.weight, total_ops")):
        load_with_spandrel({**state, "foo.weight": torch.ones(1), "total_ops": torch.ones(1)}, Path("a.pth"))
    if name == "NAFNet":  # spandrel counts these blocks by the names of any of their weights
        blocks = {key: value for key, value in state.items() if not key.startswith("ups.1.")}
        with pytest.raises(UserError, match=message(r"missing: ups\.1\.0\.weight")):
            load_with_spandrel(blocks, Path("a.pth"))
    renamed = {key if key != last else "odd\x1b[31m": value for key, value in state.items()}
    with pytest.raises(UserError, match=message(rf"missing: {re.escape(last)}; unexpected: odd\\x1b\[31m")):
        load_with_spandrel(renamed, Path("a.pth"))


def test_names_of_unknown_weights_are_printed_without_control_characters(spandrel: Any) -> None:
    with pytest.raises(UserError, match=r"an unknown network \(2 tensors, \\x1b\[31mred\\n and 1 more\): deblurlab"):
        load_with_spandrel({"\x1b[31mred\n": torch.zeros(2), "a": torch.zeros(2)}, Path("a.pth"))
