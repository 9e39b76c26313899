"""Weights of other projects: wrappers, prefixes, types of numbers, and the model that they belong to."""

from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import originals
from deblurlab.checkpoints.convert import convert
from deblurlab.checkpoints.load import load_generator, load_model
from deblurlab.checkpoints.state_dicts import find_models, state_dicts
from deblurlab.cli.convert import weights as weights_command
from deblurlab.cli.restore import restore as restore_command
from deblurlab.errors import UserError
from deblurlab.models import NAFNet
from deblurlab.training.build import build
from plain_models import Strided
from steps import same
from support import config

SHAPES = originals.nafnet(8)
ARGUMENTS = ["width=8"]


@pytest.fixture
def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def _convert(content: Any, folder: Path) -> nn.Module:
    torch.save(content, folder / "a.pth")
    convert(folder / "a.pth", "nafnet_32", folder / "release", ARGUMENTS)
    return load_model(folder / "release")


@pytest.mark.parametrize(
    "prefix", ["", "module.", "module.module.", "_orig_mod.", "net_g.", "net_g.module._orig_mod.", "_orig_mod.module."]
)
@pytest.mark.parametrize(
    "keys",
    [(), ("params",), ("params_ema",), ("state_dict",), ("model",), ("model_state_dict",), ("state_dict", "net_g")],
)
def test_wrappers_and_prefixes_are_removed(prefix: str, keys: tuple[str, ...], state: dict[str, Tensor]) -> None:
    content: Any = {prefix + name: value for name, value in state.items()}
    for key in reversed(keys):
        content = {key: content, "epoch": 3}
    assert same(state_dicts(content, Path("f"))[-1], state)


def test_of_several_networks_the_generator_is_taken() -> None:
    tensors = {name: torch.full((1,), float(i)) for i, name in enumerate(["net_g.a", "net_d.a", "loss.vgg.a"])}
    assert same(state_dicts({"state_dict": tensors}, Path("f"))[-1], {"a": torch.zeros(1)})
    averaged = {"n_averaged": torch.tensor(3), "module.a": torch.ones(1)}
    assert same(state_dicts(averaged, Path("f"))[-1], {"a": torch.ones(1)})
    compiled = {"encoder._orig_mod.a": torch.ones(1), "b": torch.ones(1)}
    assert state_dicts(compiled, Path("f"))[-1].keys() == {"encoder.a", "b"}
    better = {"params": {"a": torch.zeros(1)}, "params_ema": {"a": torch.ones(1)}}
    assert same(state_dicts(better, Path("f"))[-1], {"a": torch.ones(1)})


class Nested(nn.Module):
    """Network whose own names begin like prefixes."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.add_module(part, nn.Conv2d(3, 3, 1))
        self.scale = nn.Parameter(torch.zeros(3, 1, 1))


@pytest.mark.parametrize("part", ["generator", "module", "model", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "net_g."])
def test_own_names_that_look_like_prefixes_stay(part: str, prefix: str, tmp_path: Path) -> None:
    saved, loaded = Nested(part), Nested(part)
    nn.init.uniform_(saved.scale)
    torch.save({"params": {prefix + name: value for name, value in saved.state_dict().items()}}, tmp_path / "a.pth")
    load_generator(loaded, tmp_path / "a.pth")
    assert same(loaded.state_dict(), saved.state_dict())


def test_names_with_and_without_a_prefix_are_refused(tmp_path: Path) -> None:
    state = {name: torch.zeros(value.shape) for name, value in Nested("a").state_dict().items()}
    torch.save({**state, **{f"module.{name}": value for name, value in state.items()}}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth doesn't fit the model Nested; unknown: module\.a\.bias"):
        load_generator(Nested("a"), tmp_path / "a.pth")


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, torch.float32])
def test_weights_in_the_layout_of_a_training_are_checked(dtype: torch.dtype, tmp_path: Path) -> None:
    state = Nested("a").state_dict()
    state["scale"] = torch.full_like(state["scale"], torch.nan) if dtype == torch.float32 else state["scale"].to(dtype)
    torch.save({"state_dict": {f"generator.{name}": value for name, value in state.items()}}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth holds (NaN|weights of the type)"):
        load_generator(Nested("a"), tmp_path / "a.pth")


def test_averaged_weights_are_preferred() -> None:
    for key in ("params_ema", "state_dict_ema", "model_ema", "ema"):
        content = {"state_dict": {"a": torch.zeros(1)}, key: {"a": torch.ones(1)}}
        assert same(state_dicts(content, Path("f"))[-1], {"a": torch.ones(1)})


def test_other_objects_beside_the_weights_are_ignored(tmp_path: Path, state: dict[str, Tensor]) -> None:
    others = {
        "psnr": np.float64(33.7), "opt": Namespace(width=32), "history": defaultdict(list, loss=[1.0]),
        "date": datetime(2022, 4, 1), "path": Path("/data"), "array": np.ones(3),
    }  # fmt: skip
    loaded = _convert({"params": state, **others}, tmp_path)
    assert same(loaded.state_dict(), state)
    assert same(_convert_safetensors(state, tmp_path).state_dict(), state)


def _convert_safetensors(state: dict[str, Tensor], folder: Path) -> nn.Module:
    safetensors.torch.save_file(state, folder / "a.safetensors")
    convert(folder / "a.safetensors", "nafnet_32", folder / "from_safetensors", ARGUMENTS)
    return load_model(folder / "from_safetensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_point_weights_are_converted_as_they_are(
    tmp_path: Path, state: dict[str, Tensor], dtype: torch.dtype
) -> None:
    converted = {name: value.to(dtype) for name, value in state.items()}
    loaded = _convert(converted, tmp_path)
    assert same(loaded.state_dict(), {name: value.float() for name, value in converted.items()})


def _with(state: dict[str, Tensor], value: float) -> dict[str, Tensor]:
    state["intro.bias"][3] = value
    return state


def _cast(dtype: torch.dtype) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {**state, "intro.bias": state["intro.bias"].to(dtype)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_cast(torch.int8), r"holds weights of the type int8 \(intro.bias\): only floating-point numbers"),
        (_cast(torch.int64), "holds weights of the type int64"),
        (_cast(torch.bool), "holds weights of the type bool"),
        (_cast(torch.complex64), "holds weights of the type complex64"),
        (_cast(torch.float8_e4m3fn), "holds weights of the type float8_e4m3fn"),
        (lambda state: _with(state, torch.nan), r"holds NaN or infinity \(intro.bias\)"),
        (lambda state: _with(state, -torch.inf), "holds NaN or infinity"),
    ],
)
def test_other_numbers_are_refused_everywhere(
    tmp_path: Path, state: dict[str, Tensor], change: Callable[..., Any], message: str
) -> None:
    torch.save({"params": change(state)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=rf"a\.pth {message}"):
        convert(tmp_path / "a.pth", "nafnet_32", tmp_path / "release", ARGUMENTS)
    assert not (tmp_path / "release").exists()
    with pytest.raises(UserError, match=rf"a\.pth {message}"):
        load_generator(NAFNet(width=8), tmp_path / "a.pth")


def test_counters_become_whole_numbers(tmp_path: Path) -> None:
    """Averages of weights make them floating-point; other values are an error."""
    network = nn.BatchNorm2d(2)
    state = network.state_dict()
    for counter, loaded in ((torch.tensor(3.0), 3), (torch.tensor(7, dtype=torch.int32), 7)):
        torch.save({**state, "num_batches_tracked": counter}, tmp_path / "a.pth")
        load_generator(network, tmp_path / "a.pth")
        assert network.num_batches_tracked.item() == loaded
    torch.save({**state, "num_batches_tracked": torch.tensor(3.5)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="holds num_batches_tracked as torch.float32, and not the whole numbers"):
        load_generator(network, tmp_path / "a.pth")


def test_a_release_that_cannot_be_loaded_is_not_written(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(state, tmp_path / "a.pth")
    checked = []

    def refuse(folder: Path) -> None:
        checked.append(load_model(folder))
        raise UserError("refused")

    monkeypatch.setattr("deblurlab.checkpoints.convert.load_model", refuse)
    with pytest.raises(UserError, match="refused"):
        convert(tmp_path / "a.pth", "nafnet_32", tmp_path / "release", ARGUMENTS)
    assert same(checked[0].state_dict(), state)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize(
    ("shapes", "models"),
    [
        (originals.nafnet(64), ["nafnet_64"]),
        (originals.restormer(), ["restormer"]),
        (originals.mimo_unet(8), ["mimo_unet"]),
        (originals.deepdeblur(), ["deepdeblur"]),
        (originals.deblurgan_v2_inception(), ["fpn_inception"]),
        (originals.deblurgan(), ["resnet", "resnet_9blocks"]),
        (originals.nafnet(24), []),
    ],
)
def test_models_are_recognised_by_names_and_shapes(shapes: originals.Shapes, models: list[str]) -> None:
    found = find_models([{name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}])
    assert list(found) == models
    if "nafnet_64" in models:
        assert (found["nafnet_64"]["width"], found["nafnet_64"]["padding"]) == (64, "zeros")


def test_weights_that_fit_several_models_name_the_converter(tmp_path: Path) -> None:
    shapes = originals.deblurgan()
    torch.save({name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}, tmp_path / "a.pth")
    with pytest.raises(
        UserError,
        match=r"a\.pth fits several models, resnet, resnet_9blocks, which compute different results: choose one with "
        r"deblurlab weights convert .*a\.pth --model resnet$",
    ):
        load_model(tmp_path / "a.pth")


def test_init_takes_published_weights_of_the_chosen_model(tmp_path: Path) -> None:
    shapes = originals.nafnet(4)
    state = {name: torch.randn(shape) for name, shape in shapes.items()}
    torch.save({"params_ema": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "a.pth")
    module = build(config("model=nafnet_32", "model.width=4", "loss=l1", f"init={tmp_path}/a.pth"))
    assert same(module.generator.state_dict(), state)
    with pytest.raises(UserError, match=r"a\.pth doesn't fit the model NAFNet; of another shape: .* and \d+ more"):
        build(config("model=nafnet_32", "model.width=8", "loss=l1", f"init={tmp_path}/a.pth"))
    own = Strided(width=6)
    torch.save(own.state_dict(), tmp_path / "own.pth")
    other = Strided(width=6)
    load_generator(other, tmp_path / "own.pth")
    assert same(other.state_dict(), own.state_dict())


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


@pytest.mark.parametrize("name", ["a.pth", "a.npz"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        (LFS, "it is a Git LFS pointer"),
        ("<html>", "it is a web page"),
        ("hello", "it is a text file"),
    ],
)
def test_every_command_names_files_that_are_no_weights(tmp_path: Path, name: str, text: str, message: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    for command in (
        lambda: weights_command(["convert", str(file), "--model", "nafnet_16", "-o", str(tmp_path / "release")]),
        lambda: restore_command(["x.png", "--weights", str(file)]),
    ):
        with pytest.raises(SystemExit, match=rf"^deblurlab: .*{name} can't be read as weights: {message}.*$"):
            command()
    for use in (lambda: load_generator(NAFNet(width=4), file), lambda: load_model(file)):
        with pytest.raises(UserError, match=rf"{name} can't be read as weights: {message}"):
            use()
