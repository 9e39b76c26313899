"""How a metric is named, formatted and compared. Imports no torch: tables read it from results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deblurlab.config import find_target
from deblurlab.errors import UserError

DISPLAY_KEYS = ("title", "unit", "digits", "description", "higher_is_better")
"""Keys of a metric's config node that aren't arguments of its class."""


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """Properties of a metric that tables and comparisons need; `results.json` contains them."""

    title: str
    unit: str = ""
    digits: int = 4
    description: str = ""
    higher_is_better: bool = True

    @classmethod
    def of(cls, name: str, node: Mapping[str, Any]) -> "MetricInfo":
        """Return the properties of the metric of a config node.

        They are attributes of its class, which keys of the same name in the node override. The default title is the
        name, the default description the first line of the class's docstring.

        Raises:
            UserError: Neither the class nor the node says whether a higher value is better.
        """
        metric: Any = find_target(node)
        first_line = next(iter((metric.__doc__ or "").strip().splitlines()), "")
        defaults = {"title": name, "description": first_line}
        found = {key: node.get(key, getattr(metric, key, None)) for key in DISPLAY_KEYS}
        if found["higher_is_better"] is None:
            raise UserError(
                f"metric.{name} needs higher_is_better: true or false, which {metric.__name__} doesn't declare"
            )
        return cls(**defaults | {key: value for key, value in found.items() if value not in (None, "")})

    @property
    def heading(self) -> str:
        """Title with the unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def format(self, value: float | None, sign: str = "") -> str:
        """Return a value with the metric's decimals, or "-" for None."""
        return "-" if value is None else format(value, f"{sign}.{self.digits}f")
