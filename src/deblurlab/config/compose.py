"""Finds conf/ and teaches Hydra sums: `loss=l1+0.1*vgg`, `logger=csv+wandb`.

Only Hydra is imported here, so that `--help` and tab completion answer at once.
"""

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

_SHIPPED = Path(__file__).parents[1] / "shipped"
_ROOT = _SHIPPED if _SHIPPED.is_dir() else Path(__file__).parents[3]
CONF = _ROOT / "conf"
"""The configuration files: the checkout's, or in an installed wheel its own."""
SWEEPS = _ROOT / "sweeps"

_WEIGHTED = {"loss"}
_GROUPS = {"loss", "logger"}
"""Groups whose options can be added up; in weighted ones a term may have a factor."""
_FACTORS = "factors"
"""A group with an option for every sum: its factors alone, to be merged over what an experiment says."""
_TERM = re.compile(r"(?:((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\*)?([A-Za-z_]\w*)")
_UNNAMED = {"fresh", "name", "runs", "shard", "sweep"}
"""Overrides that don't make another run."""


def parse_sum(expression: str) -> list[tuple[str, float | None]] | None:
    """The terms of a sum, `[(name, factor or None), ...]`; None for what isn't one, such as a plain name.

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
    """A Hydra config source in which every sum of a group's options is a config that holds them all, and another the
    factors in it."""

    @staticmethod
    def scheme() -> str:
        return "sum"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path.strip("/") in {*_GROUPS, _FACTORS}

    def is_config(self, config_path: str) -> bool:
        group, _, expression = config_path.rpartition("/")
        return group == _FACTORS or (group in _GROUPS and parse_sum(expression) is not None)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Pairs of terms, for the shell to complete; nobody else wants to see them all."""
        group = config_path.strip("/")
        if "COMP_LINE" not in os.environ or group not in _GROUPS or results_filter == ObjectType.GROUP:
            return []
        names = options(group)
        return [f"{a}+{b}" for a in names for b in names if a != b]

    def load_config(self, config_path: str) -> ConfigResult:
        group, _, expression = config_path.rpartition("/")
        terms = parse_sum(expression) or []
        if group == _FACTORS:
            weights = {name: {"weight": factor} for name, factor in terms if factor is not None}
            return self._result(config_path, weights)
        names = [name for name, _ in terms]
        known = GlobalHydra.instance().config_loader().get_group_options(group, ObjectType.CONFIG)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ConfigCompositionException(
                f"unknown {group} {', '.join(unknown)} in {group}={expression}; known: {', '.join(sorted(known))}"
            )
        if len(set(names)) < len(names):
            raise ConfigCompositionException(f"{group}={expression} names a term twice")
        if group not in _WEIGHTED and any(factor is not None for _, factor in terms):
            raise ConfigCompositionException(f"{group}={expression}: only {', '.join(_WEIGHTED)} takes factors")
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
    """A Hydra config source in which every path is a restorer: `restorer=runs/mine` is `restorer=checkpoint
    restorer.path=runs/mine`, so that trained models and classical methods can be listed in one sweep."""

    @staticmethod
    def scheme() -> str:
        return "path"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return False

    def is_config(self, config_path: str) -> bool:
        return config_path.startswith("restorer/") and "/" in config_path.removeprefix("restorer/")

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return []

    def load_config(self, config_path: str) -> ConfigResult:
        content = {"defaults": ["checkpoint", "_self_"], "path": config_path.removeprefix("restorer/")}
        return ConfigResult(
            config=OmegaConf.create(content),
            path=f"path://{config_path}",
            provider=self.provider,
            header={"package": None},
        )


class SearchPath(SearchPathPlugin):
    """Puts sums, paths and sweeps/ on Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("deblurlab", "sum://")
        search_path.append("deblurlab", "path://")
        search_path.append("deblurlab", f"file://{SWEEPS}")


def run_name(name: str | None, overrides: Sequence[str]) -> str:
    """A run's folder: its `name`, or a slug of its overrides, which is the same whatever their order: choices come
    before values, so that they are what remains of one that is too long.

    >>> run_name(None, ["model=unet", "data.train=8", "loss=l1+0.1*vgg"])
    'loss-l1+0.1xvgg_model-unet_data.train-8'
    """
    if name is not None:
        return name
    parts = [o for o in overrides if o.lstrip("+~").partition("=")[0] not in _UNNAMED]
    removed = [re.sub(r"^~", "without-", re.sub(r"^\++", "", part)) for part in sorted(parts, key=_place)]
    slug = "_".join(re.sub(r"[^\w.+-]+", "-", part.replace("*", "x")).strip("-") for part in removed)
    if len(slug) > 120:
        slug = f"{slug[:110]}-{hashlib.sha256(slug.encode()).hexdigest()[:8]}"
    return slug or "default"


def _place(override: str) -> tuple[bool, str]:
    return "." in override.partition("=")[0], override


def evenly(limit: int, steps: int) -> int:
    """The largest interval up to `limit` that ends (nearly) when `steps` end; `limit` if their number isn't known.

    >>> evenly(1000, 2500)
    833
    """
    return steps // -(-steps // limit) if steps > 0 else limit


def processes(devices: Any) -> int:
    """How many processes `trainer.devices` asks for on each machine, where nobody can look how many devices it has.

    Raises:
        ConfigCompositionException: It says "all".
    """
    if OmegaConf.is_list(devices):
        return len(devices)
    if not str(devices).isdigit() or int(devices) < 1:
        raise ConfigCompositionException(
            f"trainer.devices={devices}: a cluster must be told how many, trainer.devices=4"
        )
    return int(devices)


def gpus(accelerator: str, devices: Any) -> int | None:
    """How many GPUs a trainer wants on each machine of a cluster; None is none."""
    return None if accelerator == "cpu" else processes(devices)


def compose(*overrides: str, name: str = "train") -> DictConfig:
    """What a command line with these overrides composes to; for use outside of `hydra.main`.

    Raises:
        hydra.errors.HydraException: There is no such option.
    """
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(name, overrides=["run=none", *overrides])


def options(group: str) -> list[str]:
    """The names of a group's options, as they lie on disk."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def register() -> None:
    """Make Hydra know all this; before a config is composed, as often as one likes."""
    for plugin in (SumSource, PathSource, SearchPath):
        Plugins.instance().register(plugin)


# Of the process: whoever imports this, such as a sweep's job that a cluster runs, can read the configuration.
for function in (run_name, evenly, processes, gpus):
    OmegaConf.register_new_resolver(function.__name__, function, replace=True)
