"""NAFNet and the local mean of its evaluation."""

import torch
import torch.nn.functional as F

from deblurlab.models import NAFNet
from deblurlab.models.nafnet import LocalMean


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


def test_patches_equal_the_network_on_unshuffled_channels() -> None:
    """With patch 2, `restore` is the plain network between a pixel unshuffle and a pixel shuffle."""
    model = NAFNet(width=4, encoder=[1, 1], decoder=[1, 1], window=96, patch=2).eval()
    assert [m._window for m in model.modules() if isinstance(m, LocalMean)] == [48, 24, 12, 24, 48]
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    plain = NAFNet(width=4, encoder=[1, 1], decoder=[1, 1], window=48).eval()
    plain.intro, plain.ending = model.intro, model.ending
    plain.load_state_dict(model.state_dict())
    image = torch.rand(1, 3, 32, 40)
    blocks = F.pixel_unshuffle(image, 2)
    torch.testing.assert_close(model(image), F.pixel_shuffle(blocks + (plain.restore(blocks) - blocks), 2))
    assert model(torch.rand(1, 3, 30, 37)).shape == (1, 3, 30, 37)


def test_nafnet_with_zero_ending_is_the_identity() -> None:
    model = NAFNet(width=4, encoder=[1, 1], decoder=[1, 1])
    torch.nn.init.zeros_(model.ending.weight)
    torch.nn.init.zeros_(model.ending.bias)
    image = torch.rand(1, 3, 20, 24)
    assert torch.equal(model(image), image)
