"""Keys in the config node of a network that are attributes, not arguments of its class: how images are padded."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from deblurlab.config.instantiation import find_target

_SETTER = "deblurlab.models.padding.set_attributes"
ATTRIBUTES = frozenset({"multiple_of", "padding", "always_pad"})
"""Keys that any network's node may have."""


def network_node(node: Any) -> Any:
    """Return a network's node in which `multiple_of`, `padding` and `always_pad` set attributes of the network.

    Args:
        node: Plain data; anything but a node with `_target_` and one of these keys is returned unchanged.
    """
    if not (isinstance(node, dict) and "_target_" in node and ATTRIBUTES & node.keys()):
        return node
    arguments, attributes = split_attributes(find_target(node), node)
    return {"_target_": _SETTER, "network": arguments, "attributes": attributes} if attributes else node


def split_attributes(
    network: Callable[..., Any], arguments: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of a network's class, and its attributes among them.

    `padding` and `always_pad` are attributes if the class has no such argument; `multiple_of` is one if the class has
    no such attribute either.
    """
    parameters = inspect.signature(network).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    keys = set() if takes_any else {"padding", "always_pad"} - parameters.keys()
    if not hasattr(network, "multiple_of") and "multiple_of" not in parameters:
        keys.add("multiple_of")
    attributes = {key: value for key, value in arguments.items() if key in keys}
    return {key: value for key, value in arguments.items() if key not in keys}, attributes


def set_attributes(network: Any, attributes: Mapping[str, Any]) -> Any:
    """Set the attributes among a network's arguments, and return the network.

    Raises:
        UserError: A value isn't possible.
    """
    return find_target({"_target_": _SETTER})(network, attributes)
