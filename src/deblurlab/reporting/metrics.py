"""Metrics of results: their names, titles and formats."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from deblurlab.metrics.info import MetricInfo


def metrics_of(*results: Mapping[str, Any]) -> dict[str, MetricInfo]:
    """Return the metrics of results by name, in the order of the first results that have them.

    Equal titles, such as those of two metrics of the same class, are followed by the name.

    Raises:
        UserError: The properties of a metric are invalid.
    """
    found: dict[str, MetricInfo] = {}
    for each in results:
        if "metrics" in each:
            infos = {name: MetricInfo.checked(name, info) for name, info in each["metrics"].items()}
        else:
            infos = _of_earlier_version(each)
        found |= {name: info for name, info in infos.items() if name not in found}
    counts = Counter(info.heading for info in found.values())
    return {
        name: info if counts[info.heading] == 1 else replace(info, title=f"{info.title} ({name})")
        for name, info in found.items()
    }


def gain_metric(metrics: Mapping[str, MetricInfo], *results: Mapping[str, Any]) -> str | None:
    """Return the name of the metric in which gains over the blurred images are shown: the first measured on both."""
    sets = [values for each in results for values in each["sets"].values()]
    return next((name for name in metrics if any(f"{name}_blurred" in values for values in sets)), None)


def _of_earlier_version(results: Mapping[str, Any]) -> dict[str, MetricInfo]:
    """Return the metrics of results that contain their names only: all of them are shipped ones."""
    from deblurlab.config import options  # imports Hydra

    names = [*(key for values in results["sets"].values() for key in values), *results.get("unavailable", ())]
    return {name: _shipped(name) for name in dict.fromkeys(names) if name in options("metric")}


@cache
def _shipped(name: str) -> MetricInfo:
    from omegaconf import OmegaConf

    from deblurlab.config import CONF

    file: Any = OmegaConf.load(CONF / "metric" / f"{name}.yaml")
    return MetricInfo.of(name, file[name])
