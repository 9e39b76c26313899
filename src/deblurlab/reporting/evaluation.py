"""report.html of an evaluation."""

import csv
import math
from collections.abc import Sequence
from typing import Any

from deblurlab.reporting.comparison import TITLES, remarks
from deblurlab.reporting.page import embedded_triptych, literal, plot, render, svg
from deblurlab.runs.files import write_text
from deblurlab.runs.folder import Run

_AGAINST = {"blur_length": "blur length (pixels)", "read_noise": "read noise (share of full scale)"}
Row = dict[str, str]


def write_evaluation(run: Run) -> None:
    """Make a finished evaluation's report from the files in its folder: scores, distributions, the worst, the median
    and the best image of each set, and every image in a table that can be sorted."""
    results = run.results()
    assert results is not None, "a report is made of results"
    with run.per_image_file.open(newline="") as file:
        images = list(csv.DictReader(file))
    measured = [name for name in TITLES if images and name in images[0]]
    page = render(
        "evaluation.html.j2",
        title=results["name"],
        columns=("set", "images", "", *(TITLES[name] for name in measured)),
        rows=[row for name, scores in results["sets"].items() for row in _rows(name, scores, measured)],
        facts=_facts(results),
        warnings=[f"{image} failed: {error}" for image, error in results["failed"].items()],
        comparisons=[embedded_triptych(path, residual=True) for path in sorted(run.samples.glob("*.png"))],
        plots=_plots(images),
        image_columns=list(images[0]) if images else [],
        image_rows=[[_short(value) for value in row.values()] for row in images],
        config=run.config_file.read_text(),
    )
    write_text(run.report_file, page)


def _rows(name: str, scores: dict[str, Any], measured: Sequence[str]) -> list[tuple[str, ...]]:
    errors = scores["standard_error"]

    def cells(end: str) -> list[str]:
        values = [(scores.get(metric + end), errors.get(metric + end)) for metric in measured]
        return ["-" if value is None else f"{value:.4f}" + (f" ± {e:.4f}" if e else "") for value, e in values]

    gains = [(scores.get(metric), scores.get(f"{metric}_blurred")) for metric in measured]
    gain = ["-" if a is None or b is None else f"{a - b:+.4f}" for a, b in gains]
    count = str(scores["images"])
    return [(name, count, "blurred", *cells("_blurred")), ("", "", "restored", *cells("")), ("", "", "gain", *gain)]


def _facts(results: dict[str, Any]) -> dict[str, str]:
    facts = {group: f"{results['options'].get(group)} {_said(node)}" for group, node in results["settings"].items()}
    facts["data"] = str(results["options"].get("data"))
    facts |= {key: f"{results[key]:,}" for key in ("parameters", "macs_256") if key in results}
    facts["seconds per megapixel"] = _short(str(results["seconds_per_megapixel"]))
    facts["peak memory (MiB)"] = _short(str(results["peak_memory_mib"]))
    for line in remarks([results]):
        key, _, text = line.partition(": ")
        facts[key] = f"{facts[key]}; {text}" if key in facts else text
    return facts


def _said(node: Any) -> str:
    """Settings in a line, without the classes that they belong to."""
    if not isinstance(node, dict):
        return ""
    flat = {**node, **node.get("method", {})}
    return ", ".join(f"{k}={v}" for k, v in flat.items() if not k.startswith("_") and not isinstance(v, dict))


def _plots(images: Sequence[Row]) -> list[str]:
    """Gains by group of images, and against what the recipes say."""
    good = [row for row in images if all(math.isfinite(float(row.get(k) or "nan")) for k in ("psnr", "psnr_blurred"))]
    gains = [float(row["psnr"]) - float(row["psnr_blurred"]) for row in good]
    if not gains:
        return []
    groups: dict[str, list[float]] = {}
    for row, gain in zip(good, gains, strict=True):
        groups.setdefault(row["image"].rpartition("/")[0] or row["set"], []).append(gain)
    pictures = []
    for part in [dict(list(groups.items())[i : i + 12]) for i in range(0, len(groups), 12)]:
        figure, axes = plot("Gain in PSNR (dB)")
        axes.boxplot(list(part.values()), tick_labels=list(map(literal, part)), orientation="horizontal")
        axes.axvline(0, color="grey", linewidth=0.8)
        pictures.append(svg(figure))
    for key, title in _AGAINST.items():
        points = [(float(row[key]), gain) for row, gain in zip(good, gains, strict=True) if row.get(key)]
        if len({x for x, _ in points}) > 1:
            figure, axes = plot(f"Gain in PSNR (dB) against {title}")
            axes.plot(*zip(*points, strict=True), ".")
            axes.axhline(0, color="grey", linewidth=0.8)
            axes.set_xlabel(title, fontsize=9)
            pictures.append(svg(figure))
    return pictures


def _short(value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        return value
    return f"{number:.4g}"
