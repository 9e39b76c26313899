"""Inception features against torchvision's network."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import inception_v3

from deblurlab.errors import UserError
from deblurlab.metrics.inception import InceptionFeatures


def _network(seed: int) -> nn.Module:
    """Return torchvision's network. Its default initialisation gives features of 1e-7, which all compare as equal."""
    network = inception_v3(weights=None, init_weights=False).eval()
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    return network


def test_features_equal_those_of_torchvision(tmp_path: Path) -> None:
    expected = _network(0)
    torch.save(expected.state_dict(), tmp_path / "inception.pth")
    own = InceptionFeatures(weights=str(tmp_path / "inception.pth"), key="metric.kid.weights")
    expected.fc = nn.Identity()
    image, large = (torch.randint(0, 256, (1, 3, 96, side), dtype=torch.uint8) for side in (75, 112))
    with torch.no_grad():
        for each in (image, large):
            features = own.train()(each)
            assert features.shape == (1, own.num_features)
            assert features.mean() > 0.005
            torch.testing.assert_close(features, expected(each / 127.5 - 1))
        small = large[..., :74, :]  # a side below 75 is enlarged; the other one is reduced, without aliasing
        enlarged = F.interpolate(small / 127.5 - 1, (75, 75), mode="bilinear", antialias=True)
        torch.testing.assert_close(own(small), expected(enlarged))
    assert not any(parameter.requires_grad for parameter in own.parameters())


def test_random_features_do_not_depend_on_the_seed() -> None:
    image = torch.randint(0, 256, (1, 3, 75, 75), dtype=torch.uint8)
    features = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        features.append(InceptionFeatures(weights="random", key=None)(image))
    assert torch.equal(*features)
    assert features[0].std() > 0.05


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"fc": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="metric.kid.weights names belong to another network"):
        InceptionFeatures(weights=str(tmp_path / "other.pth"), key="metric.kid.weights")
    with pytest.raises(UserError, match="metric.kid.weights=/nowhere"):
        InceptionFeatures(weights="/nowhere", key="metric.kid.weights")
