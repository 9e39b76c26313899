"""Memory format of networks."""

from itertools import chain

import torch
from torch import nn


def convert_memory_format(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Convert the parameters and buffers `(N, C, H, W)` of a network.

    `Module.to(memory_format=torch.channels_last)` fails if one has five dimensions (pytorch/pytorch#77821).
    """
    for tensor in chain(network.parameters(), network.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=memory_format)
