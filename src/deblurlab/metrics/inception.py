"""Inception v3 features for distances between sets of images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import Inception_V3_Weights, inception_v3

from deblurlab.checkpoints.pretrained import load_submodule, read_weights

_MIN_SIZE = 75
"""Minimum side in pixels of the network's input."""


class InceptionFeatures(nn.Module):
    """Features after the last pooling of Inception v3, as used by the Fréchet and the kernel Inception distance.

    Network and weights are torchvision's. Distances differ from published ones, which use the TensorFlow network.

    Args:
        weights: "imagenet" uses torchvision's file, from the cache or downloaded. "random" uses random features, which
            don't depend on the seed and describe textures, not objects. Any other value is the path of a state dict of
            torchvision's Inception v3.
        key: Config key of `weights`, for error messages.

    Raises:
        UserError: The weights are unavailable or don't match the network.
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
            load_submodule(
                self.network, read_weights(weights, Inception_V3_Weights.IMAGENET1K_V1.url, key=key), key=key
            )
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the features `(B, 2048)` of uint8 images `(B, 3, H, W)`; images below 75 pixels are enlarged."""
        x = images.float() / 127.5 - 1
        if min(x.shape[-2:]) < _MIN_SIZE:
            x = F.interpolate(x, (_MIN_SIZE, _MIN_SIZE), mode="bilinear", antialias=True)
        features: Tensor = self.network(x)
        return features

    def train(self, mode: bool = True) -> "InceptionFeatures":
        """Stay in evaluation mode: batch norm uses the pretrained statistics."""
        return super().train(False)
