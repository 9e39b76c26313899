"""Memory format of the trained networks."""

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deblurlab.models.memory_format import convert_memory_format

ChannelsLast = bool | Literal["auto"]


def choose_memory_format(
    network: nn.Module, channels_last: ChannelsLast, *, device: torch.device, precision: str
) -> torch.memory_format:
    """Return the memory format in which a network is trained.

    "auto" is channels_last, except for networks with instance norm on CPUs in float32, whose normalisation and strided
    convolutions are faster on contiguous features (docs/training.md). This is a rule and no measurement: a resumed
    training must repeat the format, and with it its numbers, bit for bit.

    Args:
        network: A generator or discriminator.
        channels_last: Value of `module.channels_last`.
        device: Device of the training.
        precision: Precision of Lightning's trainer, such as "32-true" or "bf16-mixed".
    """
    if channels_last == "auto":
        instance_norm = any(isinstance(module, nn.InstanceNorm2d) for module in network.modules())
        channels_last = not (instance_norm and device.type == "cpu" and precision in ("32-true", "64-true"))
    return torch.channels_last if channels_last else torch.contiguous_format


def set_memory_format(network: nn.Module, memory_format: torch.memory_format) -> RemovableHandle:
    """Convert a network, and from now on the images that it is called with; return the handle of the latter."""
    convert_memory_format(network, memory_format)
    return network.register_forward_pre_hook(partial(_convert_images, memory_format=memory_format))


def _convert_images(network: nn.Module, images: tuple[Any, ...], memory_format: torch.memory_format) -> tuple[Any, ...]:
    return tuple(
        image.contiguous(memory_format=memory_format) if isinstance(image, Tensor) else image for image in images
    )
