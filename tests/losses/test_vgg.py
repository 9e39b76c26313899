"""VGG loss: layers, normalisation and sources of the weights."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import vgg19

from deblurlab.checkpoints import pretrained
from deblurlab.errors import UserError
from deblurlab.losses import VGG


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Torchvision's network, without the memory of its classifier."""
    with torch.device("meta"):
        network = vgg19(weights=None)
    network.features.to_empty(device="cpu")
    torch.manual_seed(0)
    for layer in network.features:  # as torchvision does
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    del network.classifier
    return network


@pytest.fixture(scope="module")
def saved(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(network.state_dict(), file)
    return str(file)


@pytest.fixture
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> dict[str, torch.Tensor]:
        raise OSError("no route to host")

    monkeypatch.setattr(pretrained, "_download", refuse)


def test_features_are_conv3_3_after_relu_of_torchvisions_network(network: nn.Module, saved: str) -> None:
    restored, sharp = torch.rand(2, 2, 3, 32, 32)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def activations(image: torch.Tensor) -> torch.Tensor:
        # torchvision numbers its layers: 14 is conv3_3, 15 its ReLU.
        return network.features[:16]((image - mean.view(3, 1, 1)) / std.view(3, 1, 1))

    expected = (activations(restored) - activations(sharp)).square().mean()
    torch.testing.assert_close(VGG(weights=saved, calibrated=False)(restored, sharp), expected)


@pytest.mark.parametrize(("layer", "end"), [("conv1_1", 1), ("conv2_2", 8), ("conv3_3", 15), ("conv5_4", 35)])
def test_features_before_relu_are_those_of_torchvisions_convolution(
    network: nn.Module, saved: str, layer: str, end: int
) -> None:
    restored, sharp = torch.rand(2, 1, 3, 48, 48)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    # torchvision numbers its layers: 0 is conv1_1, 7 conv2_2, 14 conv3_3, 34 conv5_4.
    assert isinstance(network.features[end - 1], nn.Conv2d)
    first, second = (
        network.features[:end]((image - mean.view(3, 1, 1)) / std.view(3, 1, 1)) for image in (restored, sharp)
    )
    term = VGG(layers=[layer], weights=saved, calibrated=False)
    torch.testing.assert_close(term(restored, sharp), (first - second).square().mean())


def test_relu_does_not_overwrite_features_that_are_compared_before_it(network: nn.Module, saved: str) -> None:
    """Torchvision's ReLUs work in place; the features of conv1_2 have negative values."""
    restored, sharp = torch.rand(2, 1, 3, 32, 32)
    term = VGG(layers=["conv1_2", "conv2_1"], weights=saved, normalisation="symmetric", distance="l1", calibrated=False)
    expected = [
        (network.features[:end](2 * restored - 1) - network.features[:end](2 * sharp - 1)).abs().mean()
        for end in (3, 6)
    ]
    torch.testing.assert_close(term(restored, sharp), torch.stack(expected).mean())


def test_several_layers_are_averaged_and_l1_is_absolute(saved: str) -> None:
    restored, sharp = torch.rand(2, 1, 3, 32, 32)
    term = VGG(layers=["relu2_2", "relu1_1"], weights=saved, distance="l1", calibrated=False)
    separate = []
    for end in (2, 9):  # the ReLUs' places in torchvision's network, 1 and 8
        first, second = (term.features[:end]((image - term.mean) / term.std) for image in (restored, sharp))
        separate.append((first - second).abs().mean())
    torch.testing.assert_close(term(restored, sharp), torch.stack(separate).mean())


def test_loss_of_a_batch_is_the_mean_over_samples(saved: str) -> None:
    term = VGG(weights=saved)
    restored, sharp = torch.rand(2, 3, 3, 32, 32)
    separate = torch.stack([term(r[None], s[None]) for r, s in zip(restored, sharp, strict=True)])
    torch.testing.assert_close(term(restored, sharp), separate.mean())


def test_calibration_removes_the_scale_of_the_weights(network: nn.Module, tmp_path: Path) -> None:
    restored, sharp = torch.rand(2, 1, 3, 32, 32)
    state = network.state_dict()
    values = []
    for factor in (1.0, 7.0):
        scaled = {name: value * factor if name.startswith("features.0.") else value for name, value in state.items()}
        torch.save(scaled, tmp_path / "scaled.pth")
        values.append(VGG(layers=["relu1_1"], weights=str(tmp_path / "scaled.pth"))(restored, sharp))
    torch.testing.assert_close(values[0], values[1])


def test_features_are_calibrated_by_their_magnitude_for_1_over_f_noise() -> None:
    white = torch.rand((3, 64, 64), generator=torch.Generator().manual_seed(0)).double().numpy()
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64), indexing="ij"))
    noise = np.fft.ifft2(np.fft.fft2(white) / np.maximum(frequencies, 1 / 64)).real
    image = np.clip(0.5 + 0.25 * (noise - noise.mean()) / noise.std(ddof=1), 0, 1)
    term, plain = (VGG(layers=["relu1_1"], weights="random", calibrated=calibrated) for calibrated in (True, False))
    features = term.features((torch.from_numpy(image).float()[None] - term.mean) / term.std)
    torch.testing.assert_close(term.scale, features.square().mean().sqrt()[None])
    assert plain.scale.tolist() == [1]
    assert VGG(layers=["relu1_1"], weights="random").scale.item() == term.scale.item()


def test_parameters_are_frozen() -> None:
    term = VGG(layers=["relu1_1"], weights="random")
    restored, sharp = torch.rand(2, 1, 3, 16, 16).requires_grad_()
    term(restored, sharp).backward()
    assert not any(parameter.requires_grad for parameter in term.parameters())
    assert {name.partition(".")[0] for name in term.state_dict()} == {"features"}


def test_auto_without_a_connection_warns_and_uses_random_features(
    no_connection: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        term = VGG()
    assert term.resolved_settings() == {"weights": "random"}
    assert "RANDOM features" in caplog.text
    assert "vgg19-dcbb9e9d.pth" in caplog.text  # the file
    assert "checkpoints" in caplog.text  # where to store it
    random = VGG(weights="random").state_dict()
    assert all(torch.equal(value, random[name]) for name, value in term.state_dict().items())


def test_imagenet_without_a_connection_fails_with_the_same_instruction(no_connection: None) -> None:
    unavailable, path = (
        r"is unavailable \(no route to host\): place https://\S+vgg19-dcbb9e9d.pth at",
        "loss.vgg.weights=",
    )
    with pytest.raises(UserError, match=rf"{unavailable} \S+ or give its path as {path}"):
        VGG(weights="imagenet")


def test_auto_uses_imagenet_weights_if_available(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_download", lambda url: network.state_dict())
    term = VGG(weights="auto")
    assert term.resolved_settings() == {"weights": "imagenet"}
    assert torch.equal(term.features[0].weight, network.features[0].weight)


def test_missing_unreadable_and_mismatching_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="can't be read from"):
        VGG(weights=str(tmp_path / "missing.pth"))
    with pytest.raises(UserError, match=r"text\.pth"):
        VGG(weights=str(tmp_path / "text.pth"))
    with pytest.raises(UserError, match=r"loss.vgg.weights names belong to another network"):
        VGG(weights=str(tmp_path / "other.pth"))


def test_unknown_layers_distances_and_normalisations_are_refused() -> None:
    known = "conv1_1, relu1_1, conv1_2, relu1_2, conv2_1, .*, conv3_4, relu3_4, conv4_1, .*, conv5_4, relu5_4"
    with pytest.raises(ValueError, match=rf"unknown VGG19 layers \['conv3_5', 'pool1'\]; known: {known}$"):
        VGG(layers=["pool1", "conv3_5"], weights="random")
    with pytest.raises(ValueError, match=r"VGG19 layers \['relu3_3'\] are there twice: .*, name each once$"):
        VGG(layers=["relu3_3", "conv1_1", "relu3_3"], weights="random")
    with pytest.raises(ValueError, match="unknown distance 'huber'"):
        VGG(distance="huber", weights="random")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown normalisation 'none': imagenet or symmetric"):
        VGG(normalisation="none", weights="random")  # type: ignore[arg-type]
