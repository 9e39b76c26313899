"""Hydra config sources for sums (`loss=l1+0.1*vgg`, `metric=psnr+ssim`) and for paths of restorers."""

import math
import os
import re
from collections.abc import Mapping
from typing import Any

from hydra.core.object_type import ObjectType
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from deblurlab._compat import hydra_group_options
from deblurlab.config.search_path import options
from deblurlab.errors import did_you_mean

_GROUPS = {"loss", "logger", "metric"}
"""Groups whose options can be added."""
_WEIGHTED_GROUPS = {"loss"}
"""Groups whose terms can have a factor."""
_FACTORS = "factors"
"""Pseudo group with one option per sum: its factors alone. conf/train.yaml merges it after the experiment, so that
factors of the command line override weights of the experiment."""
_TERM = re.compile(r"(?:((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\*)?([A-Za-z_]\w*)")


def parse_sum(expression: str) -> list[tuple[str, float | None]] | None:
    """Return the terms of a sum, `[(name, factor or None), ...]`, or None for any other text, such as a plain name.

    >>> parse_sum("l1+0.1*vgg")
    [('l1', None), ('vgg', 0.1)]
    """
    terms: list[tuple[str, float | None]] = []
    position = 0
    while match := _TERM.match(expression, position):
        factor, name = match.groups()
        terms.append((name, None if factor is None else float(factor)))
        position = match.end()
        if position == len(expression):
            return terms if len(terms) > 1 or factor is not None else None
        if expression[position] != "+":
            return None
        position += 1
    return None


class SumSource(ConfigSource):
    """Config source that has a config for every sum of a group's options, and another for the factors of the sum."""

    @staticmethod
    def scheme() -> str:
        """Return the scheme of the source's address."""
        return "sum"

    def available(self) -> bool:
        """Return True."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Return whether a path is a group whose options can be added, or the group of factors."""
        return config_path.strip("/") in {*_GROUPS, _FACTORS}

    def is_config(self, config_path: str) -> bool:
        """Return whether a path is a group and a sum."""
        group, _, expression = config_path.rpartition("/")
        return group == _FACTORS or (group in _GROUPS and parse_sum(expression) is not None)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return all sums of two terms during shell completion, otherwise nothing, which keeps error messages short."""
        group = config_path.strip("/")
        if "COMP_LINE" not in os.environ or group not in _GROUPS or results_filter == ObjectType.GROUP:
            return []
        names = options(group)
        return [f"{a}+{b}" for a in names for b in names if a != b]

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the config of a sum: a defaults list of its terms, or the weights of `factors/<sum>`.

        Raises:
            ConfigCompositionException: A term is unknown or repeated, or a factor is not possible.
        """
        group, _, expression = config_path.rpartition("/")
        terms = parse_sum(expression) or []
        if group == _FACTORS:
            weights = {name: {"weight": factor} for name, factor in terms if factor is not None}
            return self._result(config_path, weights)
        names = [name for name, _ in terms]
        known = hydra_group_options(group)
        unknown = [name for name in names if name not in known]
        if unknown:
            hint = did_you_mean(unknown[0], known)
            raise ConfigCompositionException(
                f"unknown {group} {', '.join(unknown)} in {group}={expression}; {hint}{' ' * bool(hint)}known: "
                f"{', '.join(sorted(known))}"
            )
        if len(set(names)) < len(names):
            raise ConfigCompositionException(f"{group}={expression} names a term twice")
        if group not in _WEIGHTED_GROUPS and any(factor is not None for _, factor in terms):
            raise ConfigCompositionException(f"{group}={expression}: only {', '.join(_WEIGHTED_GROUPS)} takes factors")
        if any(factor == math.inf for _, factor in terms):
            raise ConfigCompositionException(f"{group}={expression} has a factor that is too large for a number")
        return self._result(config_path, {"defaults": names})

    def _result(self, config_path: str, content: Mapping[str, Any]) -> ConfigResult:
        return ConfigResult(
            config=OmegaConf.create(dict(content)),
            path=f"sum://{config_path}",
            provider=self.provider,
            header={"package": None},
        )


class PathSource(ConfigSource):
    """Config source in which every path is a restorer.

    `restorer=runs/mine` means `restorer=checkpoint restorer.path=runs/mine`, so that one sweep can list trained models
    and classical methods.
    """

    @staticmethod
    def scheme() -> str:
        """Return the scheme of the source's address."""
        return "path"

    def available(self) -> bool:
        """Return True."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Return False: the source has no groups."""
        return False

    def is_config(self, config_path: str) -> bool:
        """Return whether a path is the group `restorer` and a path with a slash."""
        return config_path.startswith("restorer/") and "/" in config_path.removeprefix("restorer/")

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return nothing: paths can't be listed."""
        return []

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the config of `restorer=checkpoint` with the path."""
        content = {"defaults": ["checkpoint", "_self_"], "path": config_path.removeprefix("restorer/")}
        return ConfigResult(
            config=OmegaConf.create(content),
            path=f"path://{config_path}",
            provider=self.provider,
            header={"package": None},
        )
