"""DeblurGAN-v2 on MobileNet-v2."""

from torch import Tensor
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from deblurlab.checkpoints.pretrained import load_part, read_weights
from deblurlab.models.blocks import Norm
from deblurlab.models.fpn import FPN, renamings

_KEY = "model.backbone_weights"


class FPNMobileNet(FPN):
    """The light variant of DeblurGAN-v2: a feature pyramid on the first 16 blocks of MobileNet-v2 (Sandler et al., CVPR
    2018). `backbone_weights` is "random", "imagenet" (torchvision's, from the cache or the network) or a file of a
    state dict of torchvision's `mobilenet_v2`.

    Raises:
        UserError: The backbone's weights can't be had or don't fit.
    """

    channels = (16, 24, 32, 64, 160)
    published = renamings(
        [
            (r"^fpn\.features\.(1[6-9])\..*", ""),
            (r"^fpn\.features", "backbone"),
            # Convolution, norm and activation are a triple of their own in torchvision.
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
        self, *, pyramid: int = 128, width: int = 64, norm: Norm = "instance", backbone_weights: str = "random"
    ) -> None:
        super().__init__(pyramid=pyramid, width=width, norm=norm)
        self.backbone = mobilenet_v2().features[:16]
        if backbone_weights != "random":
            url = MobileNet_V2_Weights.IMAGENET1K_V1.url
            state = read_weights(backbone_weights, url, key=_KEY)
            load_part(self.backbone, state, prefix="features.", key=_KEY)

    def maps(self, image: Tensor) -> list[Tensor]:
        found = []
        for i, block in enumerate(self.backbone.children()):
            image = block(image)
            if i in (1, 3, 6, 10, 15):  # the last of each size
                found.append(image)
        return found
