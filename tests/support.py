"""What the tests share beside fixtures."""

from deblurlab.conf import compose as config
from deblurlab.conf import options as option_names

__all__ = ["SMALL", "config", "option_names", "small"]

_SHRUNK = {
    "model": {
        "UNet": "width=4 depth=1 blocks=1",
        "UNetRes": "width=4 depth=1 blocks=1",
        "ResNet": "width=8 blocks=2",
        "DeepDeblur": "width=8 blocks=2",
        "SRN": "width=4 blocks=1",
        "NAFNet": "width=4 encoder=[1,1,1,2]",
        "MIMOUNetPlus": "width=16 blocks=1",
        "Restormer": "width=16 blocks=[1,1,1,1] refinement=1",
        "FPNMobileNet": "pyramid=16 width=8",
        "FPNInception": "pyramid=16 width=8",
    },
    "discriminator": {"PatchGAN": "width=4 n_layers=1", "Double": "width=4 patch_layers=1 full_layers=2"},
}
"""Arguments by class; whatever else there is has a width."""


def small(*overrides: str) -> list[str]:
    """Overrides that shrink the networks which these choose."""
    cfg, found = config(*overrides), []
    for group, known in _SHRUNK.items():
        arguments = known.get(cfg[group]._target_.rpartition(".")[2], "width=4")
        found += [f"{group}.{argument}" for argument in arguments.split()]
    return found


SMALL = small()
"""The default networks, so that they train in no time."""
