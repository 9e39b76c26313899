"""Tests of the architectures against published parameter counts, MACs and structures."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from deblurlab.config import instantiate
from deblurlab.models import SRN, DeepDeblur, FPNMobileNet, NAFNet, ResNet
from deblurlab.models.cost import count_macs, count_parameters
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
    "fpn_mobilenet": 2_106_627,  # 3,312,707 with the backbone's unused end
    "fpn_inception": 35_840_099,  # 60,930,828 with the backbone's unused end
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


def test_counts_belong_to_existing_models() -> None:
    assert COUNTS.keys() <= set(option_names("model"))


@pytest.mark.parametrize("name", COUNTS)
def test_number_of_parameters_and_macs(name: str) -> None:
    with torch.device("meta"):
        model = instantiate(config(f"model={name}").model)
    assert count_parameters(model) == COUNTS[name]
    if name in GMACS:
        assert count_macs(model) / 1e9 == pytest.approx(GMACS[name], abs=0.01)


def test_srn_lstm_parameter_count() -> None:
    assert count_parameters(SRN(recurrent=True)) - count_parameters(SRN(recurrent=False)) == 1_180_160


def test_local_mean_equals_average_pooling_with_replicated_border() -> None:
    """Near the border the nearest window that fits into the image is used."""
    image = torch.rand(1, 2, 4, 6, dtype=torch.float64)
    windows = F.avg_pool2d(image, 3, stride=1)  # (1, 2, 2, 4)
    expected = F.pad(windows, (1, 1, 1, 1), "replicate")
    torch.testing.assert_close(LocalMean(3).eval()(image), expected)


def test_mean_is_global_in_training_mode_and_for_images_up_to_the_window_size() -> None:
    image = torch.rand(1, 2, 4, 6, dtype=torch.float64)
    global_mean = image.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(LocalMean(3).train()(image), global_mean)
    torch.testing.assert_close(LocalMean(6).eval()(image), global_mean)
    torch.testing.assert_close(LocalMean(None).eval()(image), global_mean)


def test_local_mean_is_accurate_in_half_precision() -> None:
    image = torch.rand(1, 1, 200, 300, generator=torch.Generator().manual_seed(0))
    exact = LocalMean(100).eval()(image)
    with torch.autocast("cpu", torch.bfloat16):
        low_precision = LocalMean(100).eval()(image.bfloat16())
    assert (exact - low_precision.float()).abs().max() < 2**-8  # only the result is rounded, not the sums
    assert LocalMean(100).eval()(200 * torch.ones(1, 1, 400, 400).half()).isfinite().all()


def test_nafnet_window_is_scaled_with_the_features() -> None:
    model = NAFNet(width=4, encoder=[1, 1], decoder=[1, 1], window=96)
    assert [m._window for m in model.modules() if isinstance(m, LocalMean)] == [96, 48, 24, 48, 96]


def test_nafnet_with_zero_ending_is_the_identity() -> None:
    model = NAFNet(width=4, encoder=[1, 1], decoder=[1, 1])
    torch.nn.init.zeros_(model.ending.weight)
    torch.nn.init.zeros_(model.ending.bias)
    image = torch.rand(1, 3, 20, 24)
    assert torch.equal(model(image), image)


def test_conv_lstm_equals_the_equations() -> None:
    """One channel, one pixel; only the weight of the input at the kernel's centre is not zero."""
    cell = ConvLSTM(1).double()
    torch.nn.init.zeros_(cell.gates.weight)
    with torch.no_grad():
        cell.gates.weight[:, 0, 1, 1] = torch.tensor([1.0, 2.0, -1.0, 0.5], dtype=torch.float64)
        cell.gates.bias.zero_()
    x, memory = torch.tensor(0.3).double(), torch.tensor(0.7).double()
    state = (torch.zeros(1, 1, 1, 1).double(), memory.view(1, 1, 1, 1))
    hidden, (_, new_memory) = cell(x.view(1, 1, 1, 1), state)
    expected = torch.sigmoid(1 - x) * memory + torch.sigmoid(x) * torch.tanh(2 * x)
    torch.testing.assert_close(new_memory.flatten()[0], expected)
    torch.testing.assert_close(hidden.flatten()[0], torch.sigmoid(x / 2) * torch.tanh(expected))


def test_srn_scales_exchange_no_gradient_through_restored_images() -> None:
    torch.manual_seed(0)
    model = SRN(width=4, blocks=1, recurrent=False).train()
    grads = []
    for count in (1, 3):
        model.zero_grad()
        restored = model(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
        restored[0].sum().backward() if count == 1 else restored[-1].sum().backward()
        grads.append(model.head.bias.grad.clone())
    assert grads[0].tolist() == [64.0] * 3  # 8 x 8 pixels
    assert grads[1].tolist() == [1024.0] * 3  # 32 x 32 pixels; none from the coarser scales


def test_deepdeblur_passes_the_coarse_result_to_the_finer_scale() -> None:
    torch.manual_seed(0)
    model = DeepDeblur(width=4, blocks=1).train()
    restored = model(torch.rand(1, 3, 32, 32))
    restored[-1].sum().backward()
    assert model.stems[2].weight.grad.any()  # the coarsest network contributes to the finest result
    assert [scale.shape[-1] for scale in restored] == [8, 16, 32]


def test_deblurgan_blocks_have_two_convolutions_and_dropout() -> None:
    model = ResNet(width=4, blocks=2)
    assert all(block.conv1.weight.shape == block.conv2.weight.shape == (16, 16, 3, 3) for block in model.blocks)
    image = torch.rand(1, 3, 32, 32)
    assert not torch.equal(model.train()(image), model(image))
    assert torch.equal(model.eval()(image), model(image))


def test_backbone_weights_are_loaded_from_a_file(tmp_path: Path) -> None:
    from torchvision.models import mobilenet_v2

    from deblurlab.errors import UserError

    torch.manual_seed(0)
    torch.save(mobilenet_v2().state_dict(), tmp_path / "mobilenet.pth")
    model = FPNMobileNet(backbone_weights=str(tmp_path / "mobilenet.pth"))
    torch.manual_seed(0)
    for loaded, expected in zip(model.backbone.parameters(), mobilenet_v2().features.parameters(), strict=False):
        assert torch.equal(loaded, expected)
    with pytest.raises(UserError, match=r"can't be read from model.backbone_weights=\S+missing.pth"):
        FPNMobileNet(backbone_weights=str(tmp_path / "missing.pth"))
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"model.backbone_weights names belong to another network"):
        FPNMobileNet(backbone_weights=str(tmp_path / "other.pth"))
