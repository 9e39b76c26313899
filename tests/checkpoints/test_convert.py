"""Conversion of weights that other projects published."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import originals
from deblurlab.checkpoints.convert import convert
from deblurlab.checkpoints.load import load_model
from deblurlab.checkpoints.release import read_release
from deblurlab.checkpoints.state_dicts import rename_keys, state_dicts
from deblurlab.cli.convert import weights as weights_command
from deblurlab.config import instantiate
from deblurlab.errors import UserError
from deblurlab.models import DeepDeblur, MIMOUNetPlus, NAFNet, ResNet
from security.hostile import bounded
from support import config


def _state(shapes: originals.Shapes) -> dict[str, Tensor]:
    """Return a state dict of these names and shapes without memory: every tensor repeats one number."""
    return {name: torch.tensor(float(i)).expand(shape) for i, (name, shape) in enumerate(shapes.items())}


def _on_meta(network: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return network()


PUBLISHED = {
    "nafnet_16": (originals.nafnet(16), "params"),
    "nafnet_32": (originals.nafnet(32), "params"),
    "nafnet_64": (originals.nafnet(64), "params"),
    "restormer": (originals.restormer(), "params"),
    "mimo_unet": (originals.mimo_unet(8), "model"),
    "mimo_unet_plus": (originals.mimo_unet(20), "model"),
    "resnet": (originals.deblurgan(), None),
    "deepdeblur": (originals.deepdeblur(), "G"),
    "fpn_mobilenet": (originals.deblurgan_v2_mobilenet(), "model"),
    "fpn_inception": (originals.deblurgan_v2_inception(), "model"),
}
"""Names and shapes in each project's file, and the key of its state dict."""


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_names_and_shapes_fit(model: str) -> None:
    shapes, _ = PUBLISHED[model]
    expected = _on_meta(lambda: instantiate(config(f"model={model}").model))
    found = rename_keys(_state(shapes), expected)
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in expected.state_dict().items()
    }
    numbers = {value.flatten()[0].item() for value in found.values() if value.numel()}
    assert len(numbers) == len(found)  # no tensor is used twice


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(name, marks=[] if name in ("nafnet_16", "fpn_mobilenet") else pytest.mark.slow)
        for name in PUBLISHED
    ],
)
def test_a_downloaded_file_becomes_a_release(model: str, tmp_path: Path) -> None:
    shapes, key = PUBLISHED[model]
    state = {f"module.{name}": value for name, value in _state(shapes).items()}  # trained on several GPUs
    torch.save({key: state, "epoch": 3} if key else state, tmp_path / "downloaded.pth")
    convert(tmp_path / "downloaded.pth", model, tmp_path / "release")
    index, weights = read_release(tmp_path / "release")
    assert index["source"]["file"] == "downloaded.pth"
    assert index["model"]["class"].startswith("deblurlab.models.")
    used = {value.flatten()[0].item() for value in weights.values() if value.numel()}
    assert len(used) == len(weights)  # no tensor is used twice
    assert used <= {value.flatten()[0].item() for value in state.values()}


@pytest.mark.parametrize("key", [None, "params", "model", "G"])
def test_the_state_dict_of_each_project_is_found(key: str | None) -> None:
    tensor = torch.zeros(1)
    content = {"module.a": tensor}
    assert state_dicts({key: content, "epoch": 3} if key else content, Path("f"))[-1] == {"a": tensor}


def test_blocks_with_other_indices_are_mapped() -> None:
    original = _state(originals.deepdeblur())
    renamed = rename_keys(original, _on_meta(DeepDeblur))
    assert (
        renamed["bodies.2.18.body.3.weight"][0, 0, 0, 0] == original["body_models.2.body.19.body.2.weight"][0, 0, 0, 0]
    )
    original = _state(originals.deblurgan(dropout=False))
    renamed = rename_keys(original, _on_meta(ResNet))
    assert renamed["blocks.8.conv2.bias"][0] == original["model.18.conv_block.5.bias"][0]
    original = _state(originals.mimo_unet(20))
    renamed = rename_keys(original, _on_meta(MIMOUNetPlus))
    assert renamed["decoder.2.19.body.3.bias"][0] == original["Decoder.2.layers.19.main.1.main.0.bias"][0]


def test_files_without_batch_norm_counters_fit(tmp_path: Path) -> None:
    state = {k: v for k, v in _state(originals.deblurgan_v2_mobilenet()).items() if "num_batches" not in k}
    torch.save(state, tmp_path / "old.pth")
    convert(tmp_path / "old.pth", "fpn_mobilenet", tmp_path / "release")
    assert read_release(tmp_path / "release")[1]["backbone.0.1.num_batches_tracked"] == 0


def test_names_and_shapes_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    state = _state(originals.nafnet(16))
    state["intro.weights"] = state.pop("intro.weight")
    state["ending.bias"] = torch.zeros(4)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(
        UserError,
        match=r"other.pth doesn't fit model=nafnet_16; missing: intro.weight; unknown: intro.weights; "
        r"of another shape: ending.bias",
    ):
        convert(tmp_path / "other.pth", "nafnet_16", tmp_path / "release")
    torch.save(_state(originals.nafnet(32)), tmp_path / "wide.pth")
    with pytest.raises(UserError, match=r"of another shape: .* and \d+ more"):
        convert(tmp_path / "wide.pth", "nafnet_16", tmp_path / "release")
    assert not (tmp_path / "release").exists()


class _Payload:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("executed"),)


def test_files_without_a_state_dict_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"params": _Payload()}, "hostile.pth")
    torch.save(nn.Linear(1, 1), "module.pth")
    Path("text.pth").write_text("hello")
    torch.save({"epoch": 3}, "empty.pth")
    for name, message in (
        ("hostile", r"holds an object of the class __builtin__\.getattr, which isn.t loaded"),
        ("module", "holds an object of the class torch.nn.modules.linear.Linear, .*: save its state_dict()"),
        ("text", "can't be read as weights: it is a text file"),
        ("missing", "can't be read .*No such file"),
        ("empty", "holds no state dict, neither at the top level nor under params_ema"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            convert(Path(f"{name}.pth"), "nafnet_16", tmp_path / "release")
        assert "\n" not in str(caught.value)
    assert not Path("executed").exists()
    with pytest.raises(UserError, match=r"there is no model nafnet; known: .*nafnet_16"):
        convert(Path("empty.pth"), "nafnet", tmp_path / "release")


def test_nested_wrappers_are_removed() -> None:
    tensor = torch.zeros(1)
    assert state_dicts({"state_dict": {"params": {"module.a": tensor, "step": 3}}}, Path("f"))[-1] == {"a": tensor}


def test_the_command_writes_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(_state(originals.nafnet(16)), "a.pth")
    command = ["convert", "a.pth", "--model", "nafnet_16"]
    weights_command([*command, "-o", "out"])
    assert capsys.readouterr().out == "out\n"
    assert json.loads(Path("out/config.json").read_text())["model"]["arguments"]["width"] == 16
    weights_command(command)
    assert capsys.readouterr().out == "a\n"
    with pytest.raises(SystemExit) as end:
        weights_command([*command, "-o", "out"])
    assert end.value.code == "deblurlab: out exists already: choose another with -o"


def test_arguments_of_the_model_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(_state(originals.nafnet(8)), "a.pth")
    command = ["convert", "a.pth", "--model", "nafnet_32", "-o", "out"]
    weights_command([*command, "--set", "width=8", "--set", "window=192"])
    loaded = load_model("out")
    assert (loaded.intro.out_channels, loaded.image_padding) == (8, "zeros")
    assert read_release(Path("out"))[0]["model"]["arguments"]["window"] == 192
    refused = "isn't possible for model=nafnet_32"
    for argument, message in (
        ("with=8", rf"--set with=8 {refused}: Could not override 'model.with'; its arguments are width=32, .*"),
        ("width=abc", rf"--set width=abc {refused}: not all arguments converted .*; its arguments are width=32, .*"),
        ("width=-1", rf"--set width=-1 {refused}: Trying to create tensor with negative dimension.*; its arguments .*"),
        ("width=1000000", "a.pth doesn't fit model=nafnet_32 model.width=1000000; of another shape: .*"),
        ("width=6", "a.pth doesn't fit model=nafnet_32 model.width=6; of another shape: .*"),
    ):
        with bounded(), pytest.raises(SystemExit, match=f"^deblurlab: {message}$"):
            weights_command([*command[:-1], "other", "--set", argument])


def test_arguments_that_are_given_replace_those_of_the_original_code(tmp_path: Path) -> None:
    options, file = ["width=8", "encoder=[1]", "decoder=[1]"], tmp_path / "nafnet.pth"
    torch.save(NAFNet(width=8, encoder=[1], decoder=[1]).state_dict(), file)
    for given, padding in ((), "zeros"), (("padding=reflect",), "reflect"), (("+padding=replicate",), "replicate"):
        folder = tmp_path / padding
        convert(file, "nafnet_16", folder, [*options, *given])
        assert load_model(folder).image_padding == padding
        assert load_model(folder / "model.safetensors").image_padding == padding
