"""Perceptual metrics: values and weights."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import alexnet
from torchvision.models.vgg import cfgs, make_layers

from deblurlab.errors import UserError
from deblurlab.metrics import DISTS, LPIPS, perceptual


def test_lpips_has_all_weights_of_torchvisions_network(tmp_path: Path) -> None:
    network = alexnet()
    torch.save(network.features.state_dict(prefix="features."), tmp_path / "alexnet.pth")
    built = perceptual.lpips_network("alex", str(tmp_path / "alexnet.pth"), key="k")
    pairs = list(zip(built.net.parameters(), network.features.parameters(), strict=True))
    assert len(pairs) == 10
    assert all(torch.equal(own, theirs) for own, theirs in pairs)
    assert not any(parameter.requires_grad for parameter in built.parameters())
    assert not built.training
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="that my.key names belong to another network"):
        perceptual.lpips_network("alex", str(tmp_path / "other.pth"), key="my.key")
    with pytest.raises(UserError, match="can't be read from my.key=/nowhere"):
        perceptual.lpips_network("alex", "/nowhere", key="my.key")


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_each_lpips_metric_uses_its_backbone_on_images_in_minus_1_to_1(
    net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Network(nn.Module):
        def forward(self, x: Tensor, y: Tensor, normalize: bool) -> Tensor:
            x, y = (2 * image - 1 if normalize else image for image in (x, y))
            return (x - 2 * y).mean(dim=(1, 2, 3), keepdim=True)

    monkeypatch.setattr(perceptual.lpips, "LPIPS", lambda **options: {net: Network()}[options["net"]])
    restored, sharp = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    assert LPIPS(net, weights="random")(restored, sharp).item() == 1 - 2 * -1


def test_lpips_equals_the_authors_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backbone has random weights."""
    network = perceptual.lpips_network("alex", "random", key="test")
    monkeypatch.setattr(perceptual, "lpips_network", lambda *arguments, **options: network)
    x, y = (torch.randint(0, 256, (2, 3, 64, 64)).float() / 255 for _ in range(2))
    metric = LPIPS("alex")
    assert metric(x, x).item() == pytest.approx(0, abs=1e-6)
    expected = network(2 * x - 1, 2 * y - 1).mean()
    assert metric(x, y).item() == pytest.approx(expected.item(), abs=1e-5)


def test_dists_equals_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backbone has random weights; torchmetrics contains the weights of the metric."""
    layers = make_layers(cfgs["D"])
    module = importlib.import_module("torchmetrics.functional.image.dists")
    monkeypatch.setattr(module, "vgg16", lambda weights: SimpleNamespace(features=layers))
    monkeypatch.setattr(perceptual, "read_weights", lambda *arguments, **options: {})
    x, y = (torch.randint(0, 256, (1, 3, 64, 64)).float() / 255 for _ in range(2))
    metric = DISTS()
    assert metric(x, x).item() == pytest.approx(0, abs=1e-5)
    expected = module.deep_image_structure_and_texture_similarity(x, y)
    assert metric(x, y).item() == pytest.approx(expected.item(), abs=1e-6)
