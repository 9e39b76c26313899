"""Feature pyramid network on MobileNetV2."""

from pathlib import Path

import pytest
import torch

from deblurlab.models import FPNMobileNet


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
