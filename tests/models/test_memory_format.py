"""Memory format of networks with parameters of any number of dimensions."""

import torch
from torch import nn

from deblurlab.models.memory_format import convert_memory_format


def test_parameters_and_buffers_of_four_dimensions_are_converted() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, (4, 5)), nn.Conv3d(2, 3, (1, 4, 5)), nn.Linear(2, 3))
    network.register_buffer("table", torch.zeros(1, 2, 4, 5))
    parameters = list(network.parameters())
    convert_memory_format(network, torch.channels_last)
    assert network[0].weight.stride() == (2 * 4 * 5, 1, 5 * 2, 2)
    assert network.table.stride() == (2 * 4 * 5, 1, 5 * 2, 2)
    assert network[1].weight.is_contiguous()
    convert_memory_format(network, torch.contiguous_format)
    assert network[0].weight.stride() == (2 * 4 * 5, 4 * 5, 5, 1)
    assert all(a is b for a, b in zip(parameters, network.parameters(), strict=True))  # optimizers keep them
