"""Exported files give the results of PyTorch for every image size."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deblurlab.checkpoints.load import load_model
from deblurlab.cli.export import export as export_command
from deblurlab.cli.restore import restore as restore_command
from deblurlab.errors import UserError
from deblurlab.inference import export
from deblurlab.inference.onnx_engine import OnnxRuntime
from deblurlab.inference.predictor import Restorer
from deblurlab.models import FPNMobileNet, Model
from deblurlab.models.padding import MODES, PaddingMode, set_attributes
from plain_models import Plain, Strided
from support import small_release

RNG = np.random.default_rng(0)
SIZES = (1, 1), (5, 40), (33, 17), (61, 99), (128, 64)


def _export(release: Path, output: Path, *options: str) -> None:
    export_command([str(release), "-o", str(output), *options])


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_release(tmp_path_factory.mktemp("release") / "release")


@pytest.fixture(scope="module")
def onnx_file(release: Path) -> Path:
    _export(release, release.with_name("model.onnx"), "--format", "onnx")
    return release.with_name("model.onnx")


@pytest.fixture(scope="module")
def nafnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = "model.width=4", "model.encoder=[1,1]", "model.decoder=[1,1]"
    return small_release(tmp_path_factory.mktemp("nafnet") / "release", "nafnet_16", *options)


def _check_onnx(release: Path, file: Path) -> None:
    network, exported = Restorer.load(release, device="cpu"), Restorer.load(file)
    for height, width in SIZES:
        image = torch.rand(2, 3, height, width)
        expected = network.engine(image)
        assert (expected - image).abs().mean() > 1e-3
        found = exported.engine(image)
        assert found.shape == expected.shape
        if min(height, width) > network.engine.multiple_of:  # smaller images are padded to that first
            assert torch.allclose(found, expected, atol=1e-4)


def test_onnx_equals_pytorch_for_every_size(release: Path, onnx_file: Path) -> None:
    _check_onnx(release, onnx_file)


@pytest.mark.slow
def test_axes_are_named_and_onnx_runtime_takes_any_batch_and_size(release: Path, onnx_file: Path) -> None:
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    (blurred,), (restored,) = session.get_inputs(), session.get_outputs()
    assert (blurred.name, blurred.shape) == ("blurred", ["batch", 3, "height", "width"])
    assert (restored.name, restored.shape) == ("restored", blurred.shape)
    network = Restorer.load(release, device="cpu")
    for shape in ((1, 3, 40, 56), (3, 3, 33, 17), (2, 3, 64, 129)):
        image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        (found,) = session.run(None, {"blurred": image.numpy()})
        assert torch.allclose(torch.from_numpy(found), network.engine(image), atol=1e-4)


def test_no_axis_has_a_symbol_of_the_exporter(onnx_file: Path) -> None:
    values = onnx.load(onnx_file).graph
    shapes = [v.type.tensor_type.shape.dim for v in (*values.input, *values.output, *values.value_info)]
    words = {word for shape in shapes for dim in shape for word in re.findall(r"[A-Za-z_]\w*", dim.dim_param)}
    assert words & {"batch", "height", "width"}
    assert not [word for word in words if re.fullmatch(r"s\d+", word)]


def test_the_opset_is_that_of_the_metadata_and_the_page(onnx_file: Path) -> None:
    model = onnx.load(onnx_file)
    (opset,) = [imported.version for imported in model.opset_import if imported.domain in ("", "ai.onnx")]
    (metadata,) = [json.loads(entry.value) for entry in model.metadata_props if entry.key == "deblurlab"]
    assert metadata["opset"] == opset
    page = Path(__file__).parents[2] / "docs" / "restoring.md"
    assert f"opset {opset}" in page.read_text()


def test_onnx_equals_pytorch_for_a_network_with_local_means(nafnet: Path, tmp_path: Path) -> None:
    _export(nafnet, tmp_path / "model.onnx", "--format", "onnx")
    _check_onnx(nafnet, tmp_path / "model.onnx")


@pytest.mark.parametrize("model", ["release", pytest.param("nafnet", marks=pytest.mark.slow)])
def test_an_exported_program_equals_pytorch_for_every_size(
    model: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(model)
    _export(folder, tmp_path / "model.pt2", "--format", "torch_export")
    network = Restorer.load(folder, device="cpu")
    program = torch.export.load(tmp_path / "model.pt2").module()
    for height, width in ((61, 99), (129, 65)):
        height, width = (max(side, getattr(load_model(folder), "min_size", 1)) for side in (height, width))
        image = torch.rand(1, 3, height, width)
        assert torch.allclose(program(image), network.engine(image), atol=1e-4)


@pytest.mark.parametrize("write", [export.export_onnx, export.export_program])
def test_any_module_is_exported(tmp_path: Path, write: export.Write) -> None:
    torch.manual_seed(0)
    for network, name in ((Strided().eval(), "strided"), (Plain().eval(), "plain")):
        if name == "strided":
            setattr(network, "multiple_of", 4)  # noqa: B010
        file = tmp_path / f"{name}.onnx"
        assert write(network, file) < 1e-5
        is_onnx = write is export.export_onnx
        run = OnnxRuntime(file) if is_onnx else torch.export.load(file).module()
        for height, width in ((5, 40), (33, 17), (64, 128)):
            image = torch.rand(2, 3, height, width)
            padded = F.pad(image, (0, -width % 4, 0, -height % 4), "reflect") if name == "strided" else image
            expected = network(padded)[..., :height, :width]
            assert torch.allclose(run(image), expected, atol=1e-5)
        if is_onnx and name == "strided":
            assert run.multiple_of == 4


NUMPY_PADDING = {
    "reflect": {"mode": "reflect"},
    "replicate": {"mode": "edge"},
    "zeros": {"mode": "constant", "constant_values": 0},
    "grey": {"mode": "constant", "constant_values": 0.5},
}
EXPORTS = [
    *(("pt2", mode, always) for mode in MODES for always in (False, True)),
    ("onnx", "zeros", False),
    ("onnx", "grey", True),
]


@pytest.mark.parametrize(("suffix", "mode", "always"), EXPORTS)
def test_an_exported_file_pads_as_the_network_does(
    tmp_path: Path, suffix: str, mode: PaddingMode, always: bool
) -> None:
    """With `always_pad` a side n is padded to (n // 4 + 1) * 4, otherwise to the next multiple of 4."""
    torch.manual_seed(0)
    network, file = Strided().eval(), tmp_path / f"model.{suffix}"
    set_attributes(network, {"multiple_of": 4, "padding": mode, "always_pad": always})
    write = export.export_onnx if suffix == "onnx" else export.export_program
    assert write(network, file) < 1e-5
    run = OnnxRuntime(file) if suffix == "onnx" else torch.export.load(file).module()
    for height, width in ((5, 40), (33, 17), (64, 128)):
        image = torch.rand(2, 3, height, width)
        more = [4 - side % 4 if always else -side % 4 for side in (height, width)]
        padded = np.pad(image.numpy(), ((0, 0), (0, 0), *((0, n) for n in more)), **NUMPY_PADDING[mode])
        expected = network(torch.from_numpy(padded))[..., :height, :width]
        assert torch.allclose(run(image), expected, atol=1e-5)
    if suffix == "onnx":
        assert run.padding == mode
        # Below the smallest side, the image is padded before.
        small = torch.rand(1, 3, 3, 40)
        ends = ((0, 0), (0, 0), (0, 2), (0, 0))
        enlarged = torch.from_numpy(np.pad(small.numpy(), ends, **NUMPY_PADDING[mode]))
        assert torch.equal(run(small), run(enlarged)[:, :, :3])


def test_an_onnx_file_with_an_unknown_padding_is_refused(onnx_file: Path, tmp_path: Path) -> None:
    model = onnx.load(onnx_file)
    (metadata,) = [entry for entry in model.metadata_props if entry.key == "deblurlab"]
    assert json.loads(metadata.value)["padding"] == "reflect"
    metadata.value = json.dumps({**json.loads(metadata.value), "padding": "mirror"})
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="has invalid metadata: padding=mirror"):
        OnnxRuntime(tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_an_exported_file_uses_the_statistics_of_each_image(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    network = FPNMobileNet(pyramid=16, width=8, batch_statistics=True).eval()
    set_attributes(network, {"padding": "grey", "always_pad": True})
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, 5, 6)  # used by mistake, they would change the result
    file = tmp_path / f"model.{suffix}"
    write = export.export_onnx if suffix == "onnx" else export.export_program
    assert write(network, file) < 1e-4
    run = OnnxRuntime(file) if suffix == "onnx" else torch.export.load(file).module()
    images = torch.rand(2, 3, 70, 96) * torch.tensor([1, 0.3]).view(2, 1, 1, 1)
    expected = torch.cat([network(image[None]) for image in images])
    assert (expected - images).abs().mean() > 1e-3
    assert torch.allclose(run(images), expected, atol=1e-4)
    for height, width in [(50, 40), (20, 33), (1, 90)] if suffix == "onnx" else [(50, 40)]:  # less than the 64 pixels
        image = images[:, :, :height, :width]
        assert torch.allclose(run(image), torch.cat([network(each[None]) for each in image]), atol=1e-4)


def test_an_export_whose_sizes_do_not_fit_names_multiple_of(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Strided can't restore an image of 99x61 pixels, multiple_of=1: .*"):
        export.export_onnx(Strided(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_file_stores_stride_and_receptive_radius(release: Path, onnx_file: Path) -> None:
    engine, network = OnnxRuntime(onnx_file), Restorer.load(release, device="cpu").engine
    assert (engine.multiple_of, engine.receptive_radius) == (network.multiple_of, network.receptive_radius)
    image = RNG.integers(0, 256, (300, 340, 3), np.uint8)
    tiled = Restorer(engine, tile=128)
    assert tiled.tiling(300, 340).exact
    assert np.abs(tiled.restore(image).astype(int) - Restorer(engine).restore(image)).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_half_precision_halves_the_size(tmp_path: Path, name: str) -> None:
    release = small_release(tmp_path / "release", "unet_res", "model.width=16", "model.depth=2", "model.blocks=1")
    chosen = "onnx" if name.endswith("onnx") else "torch_export"
    _export(release, tmp_path / name, "--format", chosen)
    _export(release, tmp_path / f"half-{name}", "--format", chosen, "--half")
    assert (tmp_path / f"half-{name}").stat().st_size < 0.65 * (tmp_path / name).stat().st_size


def test_restore_accepts_an_onnx_file(
    release: Path, onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    import cv2

    cv2.imwrite("x.png", RNG.integers(0, 256, (40, 50, 3), np.uint8))
    for weights, output, engine in ((release, "a", "torch"), (onnx_file, "b", "onnxruntime")):
        with pytest.raises(SystemExit) as end:
            restore_command(["x.png", "-o", output, "--weights", str(weights), "--engine", engine, "--device", "cpu"])
        assert end.value.code == 0
    first, second = (cv2.imread(f"{folder}/x.png").astype(int) for folder in "ab")
    assert np.abs(first - second).max() <= 1


class Wrong(Model):
    """Model whose exported program gives other results."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def restore(self, blurred: torch.Tensor) -> torch.Tensor:
        return blurred * (self.weight + (0.01 if torch.compiler.is_exporting() else 0))


@pytest.mark.parametrize("write", [export.export_onnx, export.export_program])
def test_a_file_with_other_results_is_deleted(tmp_path: Path, write: export.Write) -> None:
    with pytest.raises(UserError, match=r"differ from PyTorch by up to 0\.0"):
        write(Wrong(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_existing_files_are_not_overwritten(release: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(SystemExit, match="exists already"):
        _export(release, tmp_path / "model.onnx", "--format", "onnx")
