"""DeblurGAN-v2 on Inception-ResNet-v2."""

from pathlib import Path

from torch import Tensor, nn

from deblurlab.checkpoints.pretrained import load_part, read_state
from deblurlab.errors import UserError
from deblurlab.models.blocks import Norm
from deblurlab.models.fpn import FPN, renamings

_KEY = "model.backbone_weights"

_STAGES = (
    ("conv2d_1a",),
    ("conv2d_2a", "conv2d_2b", "maxpool_3a"),
    ("conv2d_3b", "conv2d_4a", "maxpool_5a"),
    ("mixed_5b", "repeat", "mixed_6a"),
    ("repeat_1", "mixed_7a"),
)
"""timm's names, which are the original ones."""


class FPNInception(FPN):
    """The strong variant of DeblurGAN-v2: a feature pyramid on Inception-ResNet-v2 (Szegedy et al., AAAI 2017) up to
    its last reduction. `backbone_weights` is "random", "imagenet" (timm's, from the cache or the network) or a file
    of a state dict of timm's `inception_resnet_v2`.

    Raises:
        UserError: timm isn't installed; the backbone's weights can't be had or don't fit.
    """

    min_size = 128
    channels = (32, 64, 192, 1088, 2080)
    padding = ((0, 1), (1, 1), (1, 2), (1, 1), (1, 1))  # its convolutions eat the borders
    published = renamings(
        [
            (r"^fpn\.inception\.(repeat_2|block8|conv2d_7b|avgpool_1a|last_linear|classif)\..*", ""),
            (r"^fpn\.inception", "backbone"),
        ]
    )

    def __init__(
        self, *, pyramid: int = 256, width: int = 128, norm: Norm = "instance", backbone_weights: str = "random"
    ) -> None:
        super().__init__(pyramid=pyramid, width=width, norm=norm)
        whole = _inception(pretrained=backbone_weights == "imagenet")
        self.backbone = nn.ModuleDict({name: getattr(whole, name) for stage in _STAGES for name in stage})
        if backbone_weights not in ("random", "imagenet"):
            load_part(self.backbone, read_state(Path(backbone_weights), key=_KEY), key=_KEY)

    def maps(self, image: Tensor) -> list[Tensor]:
        found = []
        for stage in _STAGES:
            for name in stage:
                image = self.backbone.get_submodule(name)(image)
            found.append(image)
        return found


def _inception(*, pretrained: bool) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise UserError("model=fpn_inception takes its backbone from timm: pip install 'deblurlab[timm]'") from error
    try:
        return timm.create_model("inception_resnet_v2", pretrained=pretrained)
    except Exception as error:  # whatever the hub raises without a network
        raise UserError(
            f"Inception-ResNet-v2's ImageNet weights can't be had ({error}): fetch timm/inception_resnet_v2.tf_in1k "
            f"from the Hugging Face hub and give the file as {_KEY}=<path>, or choose {_KEY}=random"
        ) from error
