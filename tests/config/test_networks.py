"""The keys of a network's config node that are attributes: `multiple_of`, `padding`, `always_pad`."""

import pytest
from torch import nn

from deblurlab.config import instantiate
from deblurlab.config.networks import network_node
from deblurlab.errors import UserError
from deblurlab.models.padding import set_attributes

PLAIN = {"_target_": "plain_models.Strided", "width": 8}


def test_the_key_becomes_an_attribute_of_a_class_without_it() -> None:
    network = instantiate(network_node({**PLAIN, "multiple_of": 4}))
    assert type(network).__name__ == "Strided"
    assert (network.multiple_of, network.down.out_channels) == (4, 8)


def test_padding_is_an_attribute_of_any_class_without_such_an_argument() -> None:
    keys = {"padding": "grey", "always_pad": True}
    for node in ({"_target_": "plain_models.Pyramid"}, {"_target_": "deblurlab.models.UNetRes", "width": 4}):
        network = instantiate(network_node({**node, **keys}))
        assert (network.image_padding, network.always_pad) == ("grey", True)


class TakesAny(nn.Module):
    """Network that passes its arguments on."""

    def __init__(self, **arguments: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, **arguments)


@pytest.mark.parametrize(
    "node",
    [
        PLAIN,
        {"_target_": "plain_models.Pyramid", "multiple_of": 8},  # has the attribute
        {"_target_": "deblurlab.models.UNetRes", "multiple_of": 8},
        {"_target_": "torch.nn.Upsample", "scale_factor": 2},
        {"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 3, "padding": 1},
        {"_target_": f"{__name__}.TakesAny", "padding": 1},
        {"multiple_of": 8},
        3,
    ],
)
def test_other_nodes_are_unchanged(node: object) -> None:
    assert network_node(node) is node


@pytest.mark.parametrize("value", [0, -4, 4097, 4.0, "4", True, None])
def test_impossible_multiples_are_refused(value: object) -> None:
    with pytest.raises(UserError, match=r"model\.multiple_of=.* must be a whole number from 1 to 4096"):
        set_attributes(nn.Identity(), {"multiple_of": value})


@pytest.mark.parametrize("value", ["mirror", 0, None, ["zeros"]])
def test_impossible_paddings_are_refused(value: object) -> None:
    with pytest.raises(UserError, match=r"model\.padding=.* must be one of reflect, replicate, zeros, grey"):
        set_attributes(nn.Identity(), {"padding": value})
    with pytest.raises(UserError, match=r"model\.always_pad=1 must be true or false"):
        set_attributes(nn.Identity(), {"always_pad": 1})
