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
    """Return the metrics of results of an earlier version, which contain the names of shipped metrics only."""
    names = [*(key for values in results["sets"].values() for key in values), *results.get("unavailable", ())]
    files = {name: CONF / "metric" / f"{name}.yaml" for name in dict.fromkeys(names)}
    return {name: MetricInfo.of(name, OmegaConf.load(file)[name]) for name, file in files.items() if file.is_file()}
