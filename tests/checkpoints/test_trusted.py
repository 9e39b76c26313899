"""Weights that name classes outside of deblurlab."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from deblurlab.checkpoints.load import load_model
from deblurlab.checkpoints.release import write_release
from deblurlab.errors import UserError
from plain_models import Strided
from steps import same

NODE = {"_target_": "plain_models.Strided", "width": 6}


def _release(folder: Path, node: dict[str, Any], network: nn.Module | None = None) -> Path:
    torch.manual_seed(0)
    write_release(folder, OmegaConf.create(node), (network or Strided(width=6)).state_dict(), {})
    return folder


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return _release(tmp_path / "release", NODE)


def test_the_message_asks_once_and_says_where_trust_is_given(release: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"release names plain_models\.Strided, which isn't a model of deblurlab: loading it runs that class\. If "
        r"you trust it, add --trust plain_models\.Strided, or trust=\[plain_models\.Strided\] to evaluate, or set "
        r"DEBLURLAB_TRUST=plain_models\.Strided once for all commands$",
    ):
        load_model(release)


@pytest.mark.parametrize("name", ["plain_models.Strided", "plain_models"])
@pytest.mark.parametrize("variable", [False, True])
def test_a_class_or_its_package_is_trusted(
    release: Path, name: str, variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("DEBLURLAB_TRUST", f"another.package, {name}")
    loaded = load_model(str(release), trust=() if variable else [name])
    assert isinstance(loaded, Strided)
    assert not loaded.training
    torch.manual_seed(0)
    assert same(loaded.state_dict(), Strided(width=6).state_dict())


@pytest.mark.parametrize("name", ["plain", "plain_model", "plain_models.Strid", "plain_models.Strided.x", "steps"])
def test_other_names_do_not_trust_it(release: Path, name: str) -> None:
    with pytest.raises(UserError, match="isn't a model of deblurlab"):
        load_model(release, trust=[name])


@pytest.mark.parametrize("trust", [[""], [True], True, ["a b"], ["a..b"], "a;b"])
def test_trust_that_is_no_name_is_refused(release: Path, trust: Any) -> None:
    with pytest.raises(UserError, match=r"trust=.* isn't the name of a package or class"):
        load_model(release, trust=trust)


def test_one_name_needs_no_list(release: Path) -> None:
    assert isinstance(load_model(release, trust="plain_models"), Strided)


def test_a_package_allows_its_networks_only(tmp_path: Path) -> None:
    function = _release(tmp_path / "function", {**NODE, "_target_": "plain_models.make_strided"})
    with pytest.raises(UserError, match=r"plain_models\.make_strided, which isn't a subclass of torch\.nn\.Module"):
        load_model(function, trust=["plain_models"])
    assert isinstance(load_model(function, trust=["plain_models.make_strided"]), Strided)
    other = _release(tmp_path / "other", {"_target_": "plain_models.no_network"})
    with pytest.raises(UserError, match=r"plain_models\.no_network, which isn't a torch\.nn\.Module"):
        load_model(other, trust=["plain_models.no_network"])


def test_code_that_a_trusted_package_imports_is_not_called(tmp_path: Path) -> None:
    node = {"_target_": "subprocess.Popen", "args": ["touch", str(tmp_path / "owned")]}
    with pytest.raises(UserError, match=r"subprocess\.Popen, which isn't a subclass of torch\.nn\.Module"):
        load_model(_release(tmp_path / "release", node), trust=["subprocess"])
    assert not (tmp_path / "owned").exists()


def test_a_message_never_suggests_shell_syntax(tmp_path: Path) -> None:
    hostile = _release(tmp_path / "release", {"_target_": "x; touch owned"})
    with pytest.raises(UserError, match="add --trust CLASS, or .* DEBLURLAB_TRUST=CLASS"):
        load_model(hostile)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_package.Net", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("plain_models.Missing", "AttributeError: module 'plain_models' has no attribute 'Missing'"),
    ],
)
def test_a_class_that_cannot_be_imported_is_one_line(tmp_path: Path, target: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"names {target}, which can't be imported \({message}\): is its folder in"):
        load_model(_release(tmp_path / "release", {"_target_": target}), trust=[target])


def test_the_name_of_a_class_has_no_control_characters(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"names x\.\\x1b\[31mNet, which isn't a model of deblurlab: .*--trust CLASS"):
        load_model(_release(tmp_path / "release", {"_target_": "x.\x1b[31mNet"}))


def test_nested_nodes_are_built_and_must_be_trusted_too(tmp_path: Path) -> None:
    node = {**NODE, "activation": {"_target_": "torch.nn.LeakyReLU", "negative_slope": 0.5}}
    release = _release(tmp_path / "release", node)
    with pytest.raises(UserError, match=r"names torch\.nn\.LeakyReLU, which isn't a model of deblurlab"):
        load_model(release, trust=["plain_models"])
    loaded = load_model(release, trust=["plain_models", "torch.nn"])
    assert loaded.activation.negative_slope == 0.5


def test_the_key_multiple_of_is_an_attribute(tmp_path: Path) -> None:
    loaded = load_model(_release(tmp_path / "release", {**NODE, "multiple_of": 4}), trust=["plain_models"])
    assert loaded.multiple_of == 4
    with pytest.raises(UserError, match=r"model\.multiple_of=100000 must be"):
        load_model(_release(tmp_path / "large", {**NODE, "multiple_of": 100_000}), trust=["plain_models"])


def test_arguments_keep_their_names(tmp_path: Path) -> None:
    """An argument that deblurlab's models have renamed is that of the class."""
    with pytest.raises(UserError, match="describes a plain_models.Strided that can't be built: .*'widest'"):
        load_model(_release(tmp_path / "release", {**NODE, "widest": 3}), trust=["plain_models"])
