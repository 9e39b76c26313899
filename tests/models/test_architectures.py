"""Models against the parameter counts and structures that were published."""

import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate

from deblurlab.models import SRN, DeepDeblur, FPNMobileNet, NAFNet, ResNet
from deblurlab.models.cost import macs, parameters
from deblurlab.models.nafnet import LocalMean
from deblurlab.models.srn import ConvLSTM
from support import config, option_names

COUNTS = {
    "unet": 4_730_211,
    "unet_res_small": 1_183_923,
    "unet_res_fast": 4_884_268,
    "unet_res": 4_730_211,
    "unet_res_large": 29_224_467,
    "resnet": 11_378_179,  # DeblurGAN with two convolutions per block
    "fpn_mobilenet": 2_106_627,  # of 3,312,707 with the backbone's end, which is never used
    "fpn_inception": 35_840_099,  # likewise of 60,930,828
    "deepdeblur": 11_721_321,
    "srn": 6_881_251,  # the released colour model
    "nafnet_16": 4_347_827,
    "nafnet_32": 17_111_907,
    "nafnet_64": 67_888_835,
    "mimo_unet_plus": 16_107_651,
    "restormer": 26_126_644,
}
GMACS = {
    "nafnet_16": 4.09, "nafnet_32": 15.96, "nafnet_64": 63.05, "resnet": 49.55, "deepdeblur": 335.95,
    "mimo_unet_plus": 150.66, "restormer": 154.88,
    "unet_res_small": 4.84, "unet_res_fast": 6.86, "unet_res": 19.24, "unet_res_large": 70.38,
}  # fmt: skip


def test_every_count_is_of_a_model() -> None:
    assert COUNTS.keys() <= set(option_names("model"))


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_and_macs(name: str) -> None:
    model = instantiate(config(f"model={name}").model, _convert_="all")
    assert parameters(model) == COUNTS[name]
    if name in GMACS:
        assert macs(model) / 1e9 == pytest.approx(GMACS[name], abs=0.01)


def test_the_recurrent_cell_adds_its_parameters() -> None:
    assert parameters(SRN(recurrent=True)) - parameters(SRN(recurrent=False)) == 1_180_160


def test_local_means_by_hand() -> None:
    """Of 4 x 6 values in windows of 3: whole windows, the outermost of which stand in along the border."""
    image = torch.rand(1, 2, 4, 6, dtype=torch.float64)
    windows = F.avg_pool2d(image, 3, stride=1)  # 2 x 4
    expected = F.pad(windows, (1, 1, 1, 1), "replicate")
    torch.testing.assert_close(LocalMean(3).eval()(image), expected)


def test_means_are_global_while_training_and_for_images_within_the_window() -> None:
    image = torch.rand(1, 2, 4, 6, dtype=torch.float64)
    whole = image.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(LocalMean(3).train()(image), whole)
    torch.testing.assert_close(LocalMean(6).eval()(image), whole)
    torch.testing.assert_close(LocalMean(None).eval()(image), whole)


def test_local_means_keep_their_digits_in_half_precision() -> None:
    image = torch.rand(1, 1, 200, 300, generator=torch.Generator().manual_seed(0))
    exact = LocalMean(100).eval()(image)
    with torch.autocast("cpu", torch.bfloat16):
        rough = LocalMean(100).eval()(image.bfloat16())
    assert (exact - rough.float()).abs().max() < 2**-8  # the rounding of the result, not of sums of 100 pixels
    assert LocalMean(100).eval()(200 * torch.ones(1, 1, 400, 400).half()).isfinite().all()


def test_windows_shrink_with_the_image() -> None:
    model = NAFNet(width=4, encoder=[1, 1], decoder=[1, 1], window=96)
    assert [m._window for m in model.modules() if isinstance(m, LocalMean)] == [96, 48, 24, 48, 96]


def test_nafnet_with_closed_gates_adds_its_last_layer_alone() -> None:
    model = NAFNet(width=4, encoder=[1, 1], decoder=[1, 1])
    torch.nn.init.zeros_(model.ending.weight)
    torch.nn.init.zeros_(model.ending.bias)
    image = torch.rand(1, 3, 20, 24)
    assert torch.equal(model(image), image)


def test_the_lstm_by_hand() -> None:
    """One channel, one pixel, and gates that see the input alone: the middle of their kernels."""
    cell = ConvLSTM(1).double()
    torch.nn.init.zeros_(cell.gates.weight)
    with torch.no_grad():
        cell.gates.weight[:, 0, 1, 1] = torch.tensor([1.0, 2.0, -1.0, 0.5], dtype=torch.float64)
        cell.gates.bias.zero_()
    x, memory = torch.tensor(0.3).double(), torch.tensor(0.7).double()
    state = (torch.zeros(1, 1, 1, 1).double(), memory.view(1, 1, 1, 1))
    hidden, (_, kept) = cell(x.view(1, 1, 1, 1), state)
    expected = torch.sigmoid(1 - x) * memory + torch.sigmoid(x) * torch.tanh(2 * x)
    torch.testing.assert_close(kept.flatten()[0], expected)
    torch.testing.assert_close(hidden.flatten()[0], torch.sigmoid(x / 2) * torch.tanh(expected))


def test_no_gradient_flows_from_a_scale_of_srn_to_the_one_below() -> None:
    torch.manual_seed(0)
    model = SRN(width=4, blocks=1, recurrent=False).train()
    grads = []
    for count in (1, 3):
        model.zero_grad()
        restored = model(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
        restored[0].sum().backward() if count == 1 else restored[-1].sum().backward()
        grads.append(model.head.bias.grad.clone())
    assert grads[0].tolist() == [64.0] * 3  # 8 x 8 pixels
    assert grads[1].tolist() == [1024.0] * 3  # 32 x 32: none of them from the coarse scales


def test_deepdeblur_shows_each_scale_what_the_one_below_made() -> None:
    torch.manual_seed(0)
    model = DeepDeblur(width=4, blocks=1).train()
    restored = model(torch.rand(1, 3, 32, 32))
    restored[-1].sum().backward()
    assert model.stems[2].weight.grad.any()  # the coarsest network has a part in the finest result
    assert [scale.shape[-1] for scale in restored] == [8, 16, 32]


def test_deblurgans_blocks_have_two_convolutions_and_dropout_between_them() -> None:
    model = ResNet(width=4, blocks=2)
    assert all(block.conv1.weight.shape == block.conv2.weight.shape == (16, 16, 3, 3) for block in model.blocks)
    image = torch.rand(1, 3, 32, 32)
    assert not torch.equal(model.train()(image), model(image))
    assert torch.equal(model.eval()(image), model(image))


def test_backbone_weights_are_explicit(tmp_path) -> None:
    from torchvision.models import mobilenet_v2

    from deblurlab.errors import UserError

    torch.manual_seed(0)
    torch.save(mobilenet_v2().state_dict(), tmp_path / "mobilenet.pth")
    model = FPNMobileNet(backbone_weights=str(tmp_path / "mobilenet.pth"))
    torch.manual_seed(0)
    for mine, theirs in zip(model.backbone.parameters(), mobilenet_v2().features.parameters(), strict=False):
        assert torch.equal(mine, theirs)
    with pytest.raises(UserError, match=r"can't be read from model.backbone_weights=\S+missing.pth"):
        FPNMobileNet(backbone_weights=str(tmp_path / "missing.pth"))
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"model.backbone_weights names belong to another network"):
        FPNMobileNet(backbone_weights=str(tmp_path / "other.pth"))
