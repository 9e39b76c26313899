"""Weights of perceptual metrics."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import alexnet

from deblurlab.errors import UserError
from deblurlab.metrics import LPIPS, perceptual


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
