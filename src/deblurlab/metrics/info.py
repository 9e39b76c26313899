"""How a metric is named, formatted and compared. Imports neither torch nor Hydra: tables read it from results."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deblurlab.errors import UserError

DISPLAY_KEYS = ("title", "unit", "digits", "description", "higher_is_better")
"""Keys of a metric's config node that aren't arguments of its class."""
_MAX_DIGITS = 15


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """Properties of a metric that tables and comparisons need; `results.json` contains them.

    Example:
        >>> info = MetricInfo(title="MAE", unit="levels", digits=1, higher_is_better=False)
        >>> info.heading, info.format(info.gain(blurred=8.0, restored=6.5), "+")
        ('MAE (levels)', '+1.5')
    """

    title: str
    higher_is_better: bool
    unit: str = ""
    digits: int = 4
    """Decimals in tables."""
    description: str = ""
    """What is computed, with the arguments of the class; stored beside every value."""

    @classmethod
    def of(cls, name: str, node: Mapping[str, Any]) -> "MetricInfo":
        """Return the properties of the metric of a config node.

        They are attributes of its class, which keys of the same name in the node override. The default title is the
        name, the default description the first line of the class's docstring.

        Raises:
            UserError: Neither the class nor the node says whether a higher value is better, or a value is invalid.
            hydra.errors.InstantiationException: The class can't be found.
        """
        from deblurlab.config import find_target  # imports Hydra

        target = find_target(node)
        found = {key: getattr(target, key, None) if (value := node.get(key)) is None else value for key in DISPLAY_KEYS}
        description = found["description"] or _first_line(target.__doc__) or node["_target_"]
        arguments = [f"{k}={v}" for k, v in node.items() if k not in DISPLAY_KEYS and not k.startswith("_")]
        found["description"] = f"{description} ({', '.join(arguments)})" if arguments else description
        return cls.checked(name, {**found, "title": found["title"] or name})

    @classmethod
    def checked(cls, name: str, values: Mapping[str, Any]) -> "MetricInfo":
        """Return the properties with these values; None stands for the default.

        Raises:
            UserError: A value is missing or has the wrong type.
        """
        given = {key: values[key] for key in DISPLAY_KEYS if values.get(key) is not None}
        if not isinstance(given.get("higher_is_better"), bool):
            raise UserError(f"metric.{name} needs higher_is_better: true or false, in its class or its YAML file")
        if "digits" in given and (type(given["digits"]) is not int or not 0 <= given["digits"] <= _MAX_DIGITS):
            raise UserError(f"metric.{name}.digits={given['digits']} must be a whole number from 0 to {_MAX_DIGITS}")
        for key in ("title", "unit", "description"):
            if not isinstance(given.get(key, ""), str):
                raise UserError(f"metric.{name}.{key}={given[key]!r:.60} must be text")
        return cls(**given)

    @property
    def heading(self) -> str:
        """Title with the unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def format(self, value: float | None, sign: str = "", *, digits: int | None = None) -> str:
        """Return a value with the metric's decimals, or with `digits`; "-" for None."""
        return "-" if value is None else format(value, f"{sign}.{self.digits if digits is None else digits}f")

    def digits_for(self, width: float | None) -> int:
        """Return the decimals of values with an error or an interval of this width: two digits of it are shown.

        >>> MetricInfo(title="PSNR", digits=2, higher_is_better=True).digits_for(0.0034)
        4
        """
        if width is None or not 0 < width < math.inf:
            return self.digits
        return min(max(self.digits, 1 - math.floor(math.log10(width))), _MAX_DIGITS)

    def gain(self, blurred: float | None, restored: float | None) -> float | None:
        """Return the improvement over the blurred image, positive if the restored one is better; None if unknown.

        It is unknown too if both values are infinite.

        >>> MetricInfo(title="PSNR", higher_is_better=True).gain(math.inf, math.inf) is None
        True
        """
        if blurred is None or restored is None or (math.isinf(blurred) and math.isinf(restored)):
            return None
        return restored - blurred if self.higher_is_better else blurred - restored


def _first_line(docstring: str | None) -> str:
    """Return the first line of a docstring, without the markup of links and the final full stop."""
    lines = (docstring or "").strip().splitlines()
    return lines[0].replace("`_", "").replace("`", "").rstrip(".") if lines else ""
