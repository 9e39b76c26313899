"""DeblurGAN-v2 (Kupyn et al., ICCV 2019) with a MobileNet-v2 backbone."""

from torch import Tensor
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from deblurlab.checkpoints.pretrained import load_submodule, read_weights
from deblurlab.models.base import Provenance
from deblurlab.models.blocks import Norm
from deblurlab.models.fpn import FPN, fpn_key_renamings

_CONFIG_KEY = "model.backbone_weights"


class FPNMobileNet(FPN):
    """DeblurGAN-v2 with the first 16 blocks of MobileNet-v2 (Sandler et al., CVPR 2018).

    2,106,627 parameters. `backbone_weights` is "random", "imagenet" (torchvision's weights, from the cache or
    downloaded) or the path of a state dict of torchvision's `mobilenet_v2`.

    Raises:
        UserError: The backbone weights can't be loaded or don't fit.
    """

    provenance = (
        Provenance(
            title="DeblurGAN-v2, ICCV 2019",
            paper="https://arxiv.org/abs/1908.03826",
            code="https://github.com/VITA-Group/DeblurGANv2",
            licence="BSD 2-Clause",
            gopro="28.17 / 0.925 (paper)",
        ),
    )
    small_arguments = {"pyramid": 16, "width": 8}
    channels = (16, 24, 32, 64, 160)
    key_renamings = fpn_key_renamings(
        [
            (r"^fpn\.features\.(1[6-9])\..*", ""),
            (r"^fpn\.features", "backbone"),
            # torchvision groups convolution, norm and activation in a submodule.
            (r"^(backbone\.\d+\.conv)\.0\.(?=[a-z])", r"\1.0.0."),
            (r"^(backbone\.\d+\.conv)\.1\.(?=[a-z])", r"\1.0.1."),
            (r"^(backbone\.1\.conv)\.3\.(?=[a-z])", r"\1.1."),
            (r"^(backbone\.1\.conv)\.4\.(?=[a-z])", r"\1.2."),
            (r"^(backbone\.\d+\.conv)\.3\.(?=[a-z])", r"\1.1.0."),
            (r"^(backbone\.\d+\.conv)\.4\.(?=[a-z])", r"\1.1.1."),
            (r"^(backbone\.\d+\.conv)\.6\.(?=[a-z])", r"\1.2."),
            (r"^(backbone\.\d+\.conv)\.7\.(?=[a-z])", r"\1.3."),
        ]
    )

    def __init__(
        self,
        *,
        pyramid: int = 128,
        width: int = 64,
        norm: Norm = "instance",
        batch_statistics: bool = False,
        backbone_weights: str = "random",
    ) -> None:
        super().__init__(pyramid=pyramid, width=width, norm=norm, batch_statistics=batch_statistics)
        backbone = mobilenet_v2().features[:16]
        if backbone_weights != "random":
            url = MobileNet_V2_Weights.IMAGENET1K_V1.url
            state = read_weights(backbone_weights, url, key=_CONFIG_KEY)
            load_submodule(backbone, state, prefix="features.", key=_CONFIG_KEY)
        self.set_backbone(backbone)

    def feature_maps(self, image: Tensor) -> list[Tensor]:
        """Return the output of the last block of each resolution."""
        maps = []
        for i, block in enumerate(self.backbone.children()):
            image = block(image)
            if i in (1, 3, 6, 10, 15):
                maps.append(image)
        return maps
