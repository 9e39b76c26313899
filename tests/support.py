"""What the tests share beside fixtures."""

from deblurlab.conf import compose as config
from deblurlab.conf import options as option_names

__all__ = ["SMALL", "config", "option_names"]

SMALL = [
    "model.width=4", "model.depth=1", "model.blocks=1", "discriminator.width=4", "discriminator.n_layers=1",
]  # fmt: skip
"""Networks that train in no time."""
