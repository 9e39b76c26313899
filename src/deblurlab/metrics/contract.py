"""What a metric of torchmetrics is given, and what it returns."""

from inspect import Parameter, signature
from typing import Any

from torch import Tensor

from deblurlab.errors import UserError


class Inputs:
    """What the `update` of a metric's class needs, from the names of its parameters.

    Args:
        target: Class of the metric, or a function that returns a metric, of which nothing is known.
    """

    def __init__(self, target: Any) -> None:
        given = list(signature(target.update).parameters.values())[1:] if hasattr(target, "update") else []
        self._required = [
            p.name for p in given if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        takes_any = any(p.kind is Parameter.VAR_POSITIONAL for p in given)
        self.images = 2 if takes_any and not self._required else len(self._required)
        """Number of images: restored and, if it is 2, sharp."""
        self.mask = any(p.name == "mask" for p in given)
        """Whether the metric can leave out pixels."""
        self.sets = any(p.name == "real" for p in given)
        """Whether the metric compares sets of images."""

    def check(self, name: str) -> None:
        """Raise UserError if the metric needs something else than images."""
        if not self.sets and self.images not in (1, 2):
            raise UserError(
                f"metric.{name}: its update({', '.join(self._required)}) must take one image, or restored and sharp"
            )


def one_number(name: str, result: Any) -> float:
    """Return what a metric has computed as a number.

    Raises:
        UserError: It is something else.
    """
    if isinstance(result, int | float) or (isinstance(result, Tensor) and result.numel() == 1):
        return float(result)
    raise UserError(f"metric.{name} must return one number, not {' '.join(str(result).split()):.60}")
