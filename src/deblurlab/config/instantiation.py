"""Instantiation of config nodes."""

from typing import Any

import hydra.utils
from hydra.errors import InstantiationException
from hydra.utils import get_class

from deblurlab.errors import UserError

__all__ = ["get_class", "instantiate"]


def instantiate(node: Any, **arguments: Any) -> Any:
    """Return the object that a config node describes with `_target_`; nested nodes first.

    Containers become plain lists and dicts, so that classes don't depend on OmegaConf and checkpoints contain plain
    data only.

    Args:
        node: Config node or plain dict.
        arguments: Further keyword arguments of the target.

    Raises:
        UserError: The target raised it.
        hydra.errors.InstantiationException: The target can't be found or rejects its arguments; the cause is chained.
    """
    try:
        return hydra.utils.instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise
