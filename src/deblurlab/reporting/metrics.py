"""Metrics of results: their names, titles and formats."""

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from deblurlab.config import CONF
from deblurlab.metrics.info import MetricInfo


def metrics_of(*results: Mapping[str, Any]) -> dict[str, MetricInfo]:
    """Return the metrics of results by name, in the order of the first results that have them."""
    found: dict[str, MetricInfo] = {}
    for each in results:
        stored = each.get("metrics")
        infos = _from_names(each) if stored is None else {name: MetricInfo(**info) for name, info in stored.items()}
        found = {**found, **{name: info for name, info in infos.items() if name not in found}}
    return found


def _from_names(results: Mapping[str, Any]) -> dict[str, MetricInfo]:
    """Return the metrics of results of an earlier version, which contain names only."""
    sets = results["sets"].values()
    names = [key for values in sets for key in values if f"{key}_blurred" in values] + list(results["unavailable"])
    return {name: _shipped(name) for name in dict.fromkeys(names)}


def _shipped(name: str) -> MetricInfo:
    file = CONF / "metric" / f"{name}.yaml"
    return MetricInfo.of(name, OmegaConf.load(file)[name]) if file.is_file() else MetricInfo(title=name)
