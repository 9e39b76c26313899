"""The key `multiple_of` of a network's config node."""

import pytest
from torch import nn

from deblurlab.config import instantiate
from deblurlab.config.networks import network_node, set_multiple_of
from deblurlab.errors import UserError

PLAIN = {"_target_": "plain_models.Strided", "width": 8}


def test_the_key_becomes_an_attribute_of_a_class_without_it() -> None:
    network = instantiate(network_node({**PLAIN, "multiple_of": 4}))
    assert type(network).__name__ == "Strided"
    assert (network.multiple_of, network.down.out_channels) == (4, 8)


@pytest.mark.parametrize(
    "node",
    [
        PLAIN,
        {"_target_": "plain_models.Pyramid", "multiple_of": 8},  # has the attribute
        {"_target_": "deblurlab.models.UNetRes", "multiple_of": 8},
        {"_target_": "torch.nn.Upsample", "scale_factor": 2},
        {"multiple_of": 8},
        3,
    ],
)
def test_other_nodes_are_unchanged(node: object) -> None:
    assert network_node(node) is node


@pytest.mark.parametrize("value", [0, -4, 4097, 4.0, "4", True, None])
def test_impossible_multiples_are_refused(value: object) -> None:
    with pytest.raises(UserError, match=r"model\.multiple_of=.* must be a whole number from 1 to 4096"):
        set_multiple_of(nn.Identity(), value)  # type: ignore[arg-type]
