"""Instantiation of config nodes."""

from typing import Any

import hydra.utils


def instantiate(node: Any, **arguments: Any) -> Any:
    """Return the object that a config node describes with `_target_`; nested nodes first.

    Containers become plain lists and dicts, so that classes don't depend on OmegaConf and checkpoints contain plain
    data only.

    Args:
        node: Config node or plain dict.
        arguments: Further keyword arguments of the target.

    Raises:
        hydra.errors.InstantiationException: The target can't be found or rejects its arguments; the cause is chained.
    """
    return hydra.utils.instantiate(node, _convert_="all", **arguments)
