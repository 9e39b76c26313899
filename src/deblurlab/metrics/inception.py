"""Features by which sets of images are compared."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import Inception_V3_Weights, inception_v3

from deblurlab.checkpoints.pretrained import load_part, read_weights

_SMALLEST = 75


class InceptionFeatures(nn.Module):
    """Inception v3's last pooled activations, as the Fréchet and the kernel Inception distance take them. Layers and
    weights are torchvision's: scores aren't those of the TensorFlow network that papers use.

    `weights`: "imagenet" takes torchvision's file from the cache or the network; "random" are random features, always
    the same, which see textures and know no objects; anything else is the path of a state dict of torchvision's
    Inception v3. `key` is the setting it came from.

    Raises:
        UserError: The weights can't be had or don't fit.
    """

    num_features = 2048

    def __init__(self, *, weights: str, key: str | None) -> None:
        super().__init__()
        self.network = inception_v3(weights=None, aux_logits=False, transform_input=False, init_weights=False)
        self.network.dropout, self.network.fc = nn.Identity(), nn.Identity()
        if weights == "random":
            generator = torch.Generator().manual_seed(3)
            for layer in self.network.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        else:
            load_part(self.network, read_weights(weights, Inception_V3_Weights.IMAGENET1K_V1.url, key=key), key=key)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """uint8 `(B, 3, H, W)` -> `(B, 2048)`; sides below 75 pixels are enlarged to that."""
        x = images.float() / 127.5 - 1
        if min(x.shape[-2:]) < _SMALLEST:
            x = F.interpolate(x, (_SMALLEST, _SMALLEST), mode="bilinear", antialias=True)
        features: Tensor = self.network(x)
        return features

    def train(self, mode: bool = True) -> "InceptionFeatures":
        return super().train(False)  # its norms have been learnt
