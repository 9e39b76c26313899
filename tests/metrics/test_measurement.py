"""Measurement by metrics from a config: references, availability, and metrics of other packages."""

from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
import torchmetrics.functional.image as functional
from torch import Tensor
from torchmetrics.image import PeakSignalNoiseRatio

from deblurlab.errors import UserError
from deblurlab.metrics import ImageMetric, Measurement, MetricInfo, Protocol, perceptual
from support import config


def _measurement(metric: str) -> Measurement:
    return Measurement(config(f"metric={metric}").metric, Protocol())


def test_best_of_several_references_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of constant images by hand: SSIM is (2 x y + C1) / (x^2 + y^2 + C1)."""
    restored, near, far = (torch.full((3, 16, 16), level / 255) for level in (100, 104, 140))
    c1 = (0.01 * 255) ** 2
    ssim = (2 * 100 * 104 + c1) / (100**2 + 104**2 + c1)
    for references in ([far, near], [near, far]):
        values = _measurement("psnr+ssim").measure(restored, references)
        assert values == {"psnr": pytest.approx(20 * np.log10(255 / 4)), "ssim": pytest.approx(ssim)}
    network = torch.nn.Identity()
    network.forward = lambda x, y, normalize: 2 * (x - y).abs().mean()  # type: ignore[method-assign, assignment]
    monkeypatch.setattr(perceptual, "lpips_network", lambda net, weights, key: network)
    found = _measurement("lpips_alex").measure(restored, [far, near, far])
    assert found["lpips_alex"] == pytest.approx(4 / 127.5)  # lower is better


def test_metrics_without_weights_are_reported_as_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    measurement = _measurement("psnr+lpips_alex+dists")
    images = torch.rand(3, 64, 64), [torch.rand(3, 64, 64)]
    assert set(measurement.measure(*images)) == {"psnr"}
    assert set(measurement.unavailable) == {"lpips_alex", "dists"}
    assert "alexnet" in measurement.unavailable["lpips_alex"]
    assert "vgg16" in measurement.unavailable["dists"]


def _pairs(count: int = 3) -> list[tuple[Tensor, Tensor]]:
    """Return restored and sharp images `(3, 48, 56)` with 8 bits, differently noisy."""
    generator = torch.Generator().manual_seed(0)
    sharp = torch.nn.functional.avg_pool2d(torch.rand(count, 3, 52, 60, generator=generator), 5, stride=1)
    noise = torch.randn(sharp.shape, generator=generator) * torch.linspace(0.01, 0.1, count).view(-1, 1, 1, 1)
    restored, sharp = ((255 * images).clamp(0, 255).round() / 255 for images in (sharp + noise, sharp))
    return list(zip(restored, sharp, strict=True))


def test_psnr_of_torchmetrics_equals_our_own_for_each_image() -> None:
    nodes = {
        "psnr": {"_target_": "deblurlab.metrics.PSNR"},
        "theirs": {"_target_": "torchmetrics.image.PeakSignalNoiseRatio", "data_range": 1.0},
    }
    measurement = Measurement(nodes, Protocol(border=3))
    found = [measurement.measure(restored, [sharp]) for restored, sharp in _pairs()]
    assert [values["theirs"] for values in found] == pytest.approx([values["psnr"] for values in found], abs=1e-4)
    assert len({round(values["psnr"], 1) for values in found}) == 3


@pytest.mark.parametrize(
    ("name", "function", "arguments", "higher_is_better"),
    [
        ("StructuralSimilarityIndexMeasure", functional.structural_similarity_index_measure, {"data_range": 1.0}, True),
        ("UniversalImageQualityIndex", functional.universal_image_quality_index, {"kernel_size": [7, 7]}, True),
        ("SpectralAngleMapper", functional.spectral_angle_mapper, {}, False),
        ("VisualInformationFidelity", functional.visual_information_fidelity, {}, True),
        ("TotalVariation", functional.total_variation, {}, False),
    ],
)
def test_metrics_of_torchmetrics_are_computed_for_each_image(
    name: str, function: Any, arguments: dict, higher_is_better: bool
) -> None:
    measurement = Measurement({"theirs": {"_target_": f"torchmetrics.image.{name}", **arguments}}, Protocol())
    assert measurement.info["theirs"].higher_is_better is higher_is_better
    needs_reference = name != "TotalVariation"
    for restored, sharp in _pairs():
        images = (restored[None], sharp[None])[: 1 + needs_reference]
        expected = {"theirs": pytest.approx(function(*images, **arguments).item(), rel=1e-4)}
        assert measurement.measure(restored, [sharp]) == expected
        assert measurement.measure(restored, []) == ({} if needs_reference else expected)


class Worst(ImageMetric):
    """Largest difference of a level.

    The second line isn't part of the description.
    """

    higher_is_better = False

    def __init__(self, scale: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.dropout = torch.nn.Dropout(0.5)

    def update(self, restored: Tensor, sharp: Tensor, **unused: Any) -> None:
        assert restored.dtype == sharp.dtype == torch.float32
        self.add(self.scale * 255 * self.dropout((restored - sharp).abs()).amax(dim=(1, 2, 3)))


def test_an_own_metric_is_computed_in_evaluation_mode_and_the_best_reference_counts() -> None:
    measurement = Measurement({"worst": {"_target_": f"{__name__}.Worst"}}, Protocol())
    restored = torch.full((3, 4, 4), 100 / 255)
    near, far = (torch.full((3, 4, 4), level / 255) for level in (104, 90))
    assert measurement.measure(restored, [far, near, far])["worst"] == pytest.approx(4)


def test_properties_come_from_the_class_and_from_the_yaml_file() -> None:
    node = {"_target_": f"{__name__}.Worst"}
    info = MetricInfo.of("worst", node)
    assert info == MetricInfo(title="worst", higher_is_better=False, description="Largest difference of a level")
    keys = {"title": "W", "unit": "levels", "digits": 1, "description": "x"}
    changed = MetricInfo.of("worst", {**node, "scale": 2, **keys})
    assert (changed.heading, changed.format(1.25, "+")) == ("W (levels)", "+1.2")
    assert changed.description == "x (scale=2)"  # other arguments are another metric
    theirs = MetricInfo.of("theirs", {"_target_": "torchmetrics.image.PeakSignalNoiseRatio", "data_range": 1.0})
    assert (theirs.heading, theirs.higher_is_better) == ("theirs", True)
    assert theirs.description == "Compute Peak Signal-to-Noise Ratio (PSNR) (data_range=1.0)"


class Pair(Worst):
    """Two numbers."""

    def compute(self) -> Tensor:
        return torch.stack([super().compute()] * 2)


class PerChannel(Worst):
    """Three values for one image."""

    def update(self, restored: Tensor, sharp: Tensor) -> None:
        self.add((restored - sharp).abs().amax(dim=(0, 2, 3)))


class Scalar(Worst):
    """The mean over the batch."""

    def update(self, restored: Tensor, sharp: Tensor) -> None:
        self.add((restored - sharp).abs().mean())


class Three(Worst):
    """Three images."""

    def update(self, restored: Tensor, blurred: Tensor, sharp: Tensor) -> None:
        raise NotImplementedError


class Undirected(torchmetrics.MeanMetric):
    """A metric of torchmetrics that doesn't say which values are better."""


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("Pair", r"metric.x must return one number, not tensor\(\[4"),
        ("PerChannel", "metric.x adds 3 values for one image instead of one"),
        ("Three", r"metric.x: its update\(restored, blurred, sharp\) must take one image, or restored and sharp"),
        ("Undirected", "metric.x needs higher_is_better: true or false, in its class or its YAML file"),
        ({"_target_": f"{__name__}.Worst", "higher_is_better": "no"}, "metric.x needs higher_is_better: true or false"),
        ({"_target_": f"{__name__}.Worst", "digits": 2.5}, "metric.x.digits=2.5 must be a whole number from 0 to 15"),
        ({"_target_": f"{__name__}.Worst", "title": 3}, "metric.x.title=3 must be text"),
        ({"_target_": "torch.nn.L1Loss", "higher_is_better": False}, "metric.x is a L1Loss, not a torchmetrics.Metric"),
        (3, "metric.x=3 isn't a metric: metric=x chooses one"),
        ({"title": "settings of an experiment"}, r"no metric is chosen: metric=psnr\+ssim"),
    ],
)
def test_invalid_metrics_are_one_line_errors(node: Any, message: str) -> None:
    nodes = {"x": {"_target_": f"{__name__}.{node}"} if isinstance(node, str) else node}
    images = [torch.full((3, 4, 4), level / 255) for level in (100, 104)]
    with pytest.raises(UserError, match=message) as error:
        Measurement(nodes, Protocol()).measure(images[0], images[1:])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["seconds", "psnr_blurred", "a/b", "images", "2x"])
def test_names_with_another_meaning_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"metric.{name}: {name} can't be the name of a metric"):
        Measurement({name: {"_target_": f"{__name__}.Worst"}}, Protocol())


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": f"{__name__}.Scalar"}, r"x: add needs the value of each image, \(B,\), not \(\)"),
        ({"_target_": "torchmetrics.image.VisualInformationFidelity"}, "x: .*size"),
    ],
)
def test_errors_of_an_image_name_the_metric(node: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Measurement({"x": node}, Protocol()).measure(torch.zeros(3, 8, 8), [torch.ones(3, 8, 8)])


class Nested(PeakSignalNoiseRatio):
    """Metric that is computed by another one."""

    def __init__(self) -> None:
        super().__init__(data_range=1.0)
        self.inner = PeakSignalNoiseRatio(data_range=1.0)

    def update(self, restored: Tensor, sharp: Tensor) -> None:
        self.inner.update(restored, sharp)

    def compute(self) -> Tensor:
        return self.inner.compute()


def test_no_metric_of_single_images_is_merged_over_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has its own image at a time; a merge would average over processes, or wait forever."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)  # there is no process group to merge with
    black, grey = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 51 / 255)
    theirs = PeakSignalNoiseRatio(data_range=1.0)
    theirs.update(black, grey)
    with pytest.raises(ValueError, match="process group"):
        theirs.compute()
    nodes = {"nested": {"_target_": f"{__name__}.Nested"}, "psnr": {"_target_": "deblurlab.metrics.PSNR"}}
    measurement = Measurement(nodes, Protocol())
    for level in (51, 102):  # nor over images
        expected = pytest.approx(20 * np.log10(255 / level), abs=1e-4)
        values = measurement.measure(black[0], [torch.full((3, 4, 4), level / 255)])
        assert values == {"nested": expected, "psnr": expected}


def test_images_without_references_are_measured_by_what_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the metrics whose weights are unavailable, those that need references aren't mentioned."""

    def unreachable(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    cfg = config("metric=psnr+sharpness+lpips_alex+kid", "metric.kid.weights=imagenet")
    measurement = Measurement(cfg.metric, Protocol()).without_references()
    description = measurement.describe()
    assert set(description["metrics"]) == {"sharpness", "kid"}
    assert set(description["unavailable"]) == {"kid"}
    assert measurement.names == ["sharpness"]
