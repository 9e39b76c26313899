"""The key `multiple_of` in the config node of a network whose class knows nothing of it."""

import inspect
from collections.abc import Callable
from typing import Any

from deblurlab.config.instantiation import find_target
from deblurlab.errors import UserError

_MAX_MULTIPLE = 4096
"""Largest `multiple_of`: images are padded to it."""


def network_node(node: Any) -> Any:
    """Return a network's node in which the key `multiple_of` sets an attribute, if the class has no such argument.

    Args:
        node: Plain data; anything but a node with `_target_` and `multiple_of` is returned unchanged.
    """
    if not (isinstance(node, dict) and "_target_" in node and "multiple_of" in node):
        return node
    if not sets_multiple_of(find_target(node)):
        return node
    arguments = {key: value for key, value in node.items() if key != "multiple_of"}
    setter = f"{set_multiple_of.__module__}.{set_multiple_of.__name__}"
    return {"_target_": setter, "network": arguments, "multiple_of": node["multiple_of"]}


def sets_multiple_of(network: Callable[..., Any]) -> bool:
    """Return whether the key `multiple_of` is an attribute to set: the class has neither it nor an argument for it."""
    return not hasattr(network, "multiple_of") and "multiple_of" not in inspect.signature(network).parameters


def set_multiple_of(network: Any, multiple_of: int) -> Any:
    """Set the number that the sides of images are padded to a multiple of, and return the network.

    Raises:
        UserError: The number isn't possible.
    """
    if type(multiple_of) is not int or not 1 <= multiple_of <= _MAX_MULTIPLE:
        raise UserError(f"model.multiple_of={multiple_of!s:.50} must be a whole number from 1 to {_MAX_MULTIPLE}")
    network.multiple_of = multiple_of
    return network
