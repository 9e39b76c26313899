"""DeblurGAN-v2 (Kupyn et al., ICCV 2019) with an Inception-ResNet-v2 backbone."""

from pathlib import Path

from torch import Tensor, nn

from deblurlab.checkpoints.pretrained import load_submodule, read_state_dict
from deblurlab.errors import UserError
from deblurlab.models.base import Provenance
from deblurlab.models.blocks import Norm
from deblurlab.models.fpn import FPN, fpn_key_renamings

_CONFIG_KEY = "model.backbone_weights"

_STAGES = (
    ("conv2d_1a",),
    ("conv2d_2a", "conv2d_2b", "maxpool_3a"),
    ("conv2d_3b", "conv2d_4a", "maxpool_5a"),
    ("mixed_5b", "repeat", "mixed_6a"),
    ("repeat_1", "mixed_7a"),
)
"""Names of timm's modules, grouped by the feature map that they end with; DeblurGAN-v2 uses the same names."""


class FPNInception(FPN):
    """DeblurGAN-v2 with Inception-ResNet-v2 (Szegedy et al., AAAI 2017) up to the module `mixed_7a`.

    35,840,099 parameters. `backbone_weights` is "random", "imagenet" (timm's weights, from the cache or downloaded) or
    the path of a state dict of timm's `inception_resnet_v2`.

    Raises:
        UserError: timm isn't installed; the backbone weights can't be loaded or don't fit.
    """

    provenance = (
        Provenance(
            title="DeblurGAN-v2, ICCV 2019",
            paper="https://arxiv.org/abs/1908.03826",
            code="https://github.com/VITA-Group/DeblurGANv2",
            licence="BSD 2-Clause",
            gopro="29.55 / 0.934 (paper)",
        ),
    )
    small_arguments = {"pyramid": 16, "width": 8}
    min_size = 128
    channels = (32, 64, 192, 1088, 2080)
    map_padding = ((0, 1), (1, 1), (1, 2), (1, 1), (1, 1))  # the backbone's convolutions have no padding
    key_renamings = fpn_key_renamings(
        [
            (r"^fpn\.inception\.(repeat_2|block8|conv2d_7b|avgpool_1a|last_linear|classif)\..*", ""),
            (r"^fpn\.inception", "backbone"),
        ]
    )

    def __init__(
        self,
        *,
        pyramid: int = 256,
        width: int = 128,
        norm: Norm = "instance",
        batch_statistics: bool = False,
        backbone_weights: str = "random",
    ) -> None:
        super().__init__(pyramid=pyramid, width=width, norm=norm, batch_statistics=batch_statistics)
        network = _create_inception(pretrained=backbone_weights == "imagenet")
        backbone = nn.ModuleDict({name: getattr(network, name) for stage in _STAGES for name in stage})
        if backbone_weights not in ("random", "imagenet"):
            load_submodule(backbone, read_state_dict(Path(backbone_weights), key=_CONFIG_KEY), key=_CONFIG_KEY)
        self.set_backbone(backbone)

    def feature_maps(self, image: Tensor) -> list[Tensor]:
        """Return the output of every stage."""
        maps = []
        for stage in _STAGES:
            for name in stage:
                image = self.backbone.get_submodule(name)(image)
            maps.append(image)
        return maps


def _create_inception(*, pretrained: bool) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise UserError("model=fpn_inception needs timm for its backbone: pip install 'deblurlab[timm]'") from error
    try:
        return timm.create_model("inception_resnet_v2", pretrained=pretrained)
    except Exception as error:  # without a network the hub raises exceptions of several libraries
        raise UserError(
            f"Inception-ResNet-v2's ImageNet weights can't be loaded ({error}): fetch timm/inception_resnet_v2.tf_in1k "
            f"from the Hugging Face hub and set {_CONFIG_KEY}=<path>, or set {_CONFIG_KEY}=random"
        ) from error
