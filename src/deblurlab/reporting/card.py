"""Model card of a release: README.md with the metadata of the model hub."""

import math
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from deblurlab.config.sums import parse_sum
from deblurlab.errors import UserError
from deblurlab.metrics.info import MetricInfo
from deblurlab.reporting.comparison import format_count, protocol_text
from deblurlab.reporting.metrics import metrics_of
from deblurlab.reporting.statistics import MIN_GROUPS, Difference, PerImage, group_of, paired_bootstrap, per_image
from deblurlab.reporting.template import render
from deblurlab.runs.folder import Run
from deblurlab.runs.untrusted import read_yaml

_COLUMNS = ("set", "images", "groups", "metric", "blurred", "restored", "95 % interval", "gain", "95 % interval of it")


def model_card(run: Run, *, weights: str, licence: str | None) -> str:
    """Return the model card of a finished run.

    Args:
        run: The run.
        weights: Address or folder of the release, for the commands that use it.
        licence: Licence of the weights; None if none is given.

    Raises:
        UserError: The run hasn't finished.
    """
    results = run.results()
    if results is None:
        raise UserError(f"{run.folder} holds no finished run: only a run with results can be released")
    config = read_yaml(run.config_file)
    rows = _rows(results, per_image(run.per_image_file))
    text = render(
        "card.md.j2",
        metadata=yaml.safe_dump(_metadata(results, licence), sort_keys=False),
        results=results,
        weights=weights,
        parameters=format_count(results["parameters"]),
        macs=format_count(results["macs_256"]),
        model=yaml.safe_dump(config["model"], sort_keys=False),
        columns=_COLUMNS,
        rows=rows,
        protocol=protocol_text(results),
        intervals=any(row[2] != "-" for row in rows),
        min_groups=MIN_GROUPS,
        data=config["data"]["_target_"],
        command=shlex.join(["deblurlab", "train", *map(str, read_yaml(run.overrides_file) or [])]),
        licence=licence,
    )
    return f"{text}\n"


def _metadata(results: Mapping[str, Any], licence: str | None) -> dict[str, Any]:
    """Return the front matter of the card."""
    model, data = str(results["options"].get("model")), str(results["options"].get("data"))
    return {
        **({"license": licence} if licence else {}),
        "library_name": "deblurlab",
        "pipeline_tag": "image-to-image",
        "tags": ["deblurring", "image-restoration", model],
        "datasets": [name for name, _ in parse_sum(data) or [(data, None)]],
        "metrics": list(metrics_of(results)),
    }


def _rows(results: Mapping[str, Any], images: PerImage) -> list[tuple[str, ...]]:
    """Return a row per set and metric. Metrics of whole sets have no intervals."""
    infos = metrics_of(results)
    return [
        (name, str(values["images"]), *_cells(name, metric, info, values, images))
        for name, values in results["sets"].items()
        for metric, info in infos.items()
        if metric in values
    ]


def _cells(name: str, metric: str, info: MetricInfo, values: Mapping[str, Any], images: PerImage) -> tuple[str, ...]:
    """Return the cells from the number of groups on."""
    blurred, restored = values.get(f"{metric}_blurred"), values[metric]
    of_set = [(group_of(image), row) for (of, image), row in images.items() if of == name]
    mean = _bootstrap([(group, row.get(metric)) for group, row in of_set])
    gain = _bootstrap([(group, info.gain(row.get(f"{metric}_blurred"), row.get(metric))) for group, row in of_set])
    width = next((found.high - found.low for found in (gain, mean) if found), None)
    digits = info.digits_for(width)

    def interval(found: Difference | None, sign: str = "") -> str:
        ends = (found.low, found.high) if found else ()
        return " .. ".join(info.format(end, sign, digits=digits) for end in ends) or "-"

    return (
        str(mean.groups) if mean else "-",
        info.heading,
        info.format(blurred, digits=digits),
        info.format(restored, digits=digits),
        interval(mean),
        info.format(info.gain(blurred, restored), "+", digits=digits),
        interval(gain, "+"),
    )


def _bootstrap(values: list[tuple[str, float | None]]) -> Difference | None:
    """Return the mean of the images' values and its interval; None for fewer than two groups or undefined values."""
    groups: dict[str, list[float]] = {}
    for group, value in values:
        if value is None or not math.isfinite(value):
            return None
        groups.setdefault(group, []).append(value)
    return paired_bootstrap(groups) if len(groups) > 1 else None
