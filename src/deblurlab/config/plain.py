"""Config nodes as plain data."""

from typing import Any

from omegaconf import OmegaConf


def to_plain(node: Any) -> Any:
    """Return a config node as plain lists and dicts, with its interpolations resolved; other values unchanged.

    >>> to_plain(OmegaConf.create({"a": 1, "b": ["${a}"]}))
    {'a': 1, 'b': [1]}
    """
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
