"""Training modules that are built from the config in a checkpoint."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deblurlab.checkpoints.io import read_checkpoint, write_checkpoint
from deblurlab.errors import UserError
from deblurlab.training import CycleRestoration, PairedRestoration, Restoration

CODE = """
from textwrap import dedent
import torch
from deblurlab.losses import L1
from deblurlab.training import PairedRestoration

class Loss(L1): ...

class Step(PairedRestoration): ...

def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1)
"""


@pytest.fixture(scope="module")
def adversarial(train_once: Callable[..., Path]) -> Path:
    """Last checkpoint of a training with a discriminator and frozen features."""
    run = train_once("loss=l1+vgg+adv", "loss.vgg.weights=random", "loss.vgg.layers=[relu1_2]")
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recorded_package.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "recorded_package", raising=False)
    monkeypatch.setattr("deblurlab.config.instantiation._named_in_python", set())


def _changed(checkpoint: Path, folder: Path, **targets: str) -> Path:
    """Write a copy of a checkpoint whose config has other targets at these nodes; return its path."""
    content = read_checkpoint(checkpoint)
    for key, target in targets.items():
        node = content["record"]
        for part in key.split("__"):
            node = node[part]
        node["_target_"] = target
    write_checkpoint(content, folder / "changed.ckpt")
    return folder / "changed.ckpt"


@pytest.mark.parametrize("kind", [PairedRestoration, Restoration])
def test_all_weights_are_those_of_the_checkpoint(kind: type[Restoration], adversarial: Path) -> None:
    loaded = kind.load_from_checkpoint(adversarial)
    assert type(loaded) is PairedRestoration
    stored, state = read_checkpoint(adversarial)["state_dict"], loaded.state_dict()
    assert {name.partition(".")[0] for name in stored} == {"generator", "discriminator"}
    assert all(torch.equal(state[name], value) for name, value in stored.items())
    assert {name.partition(".")[0] for name in state.keys() - stored.keys()} == {"terms"}  # the features of VGG
    assert loaded.weights["adv"] == 0.001


def test_another_class_is_refused(adversarial: Path) -> None:
    with pytest.raises(UserError, match="holds a PairedRestoration, not a CycleRestoration"):
        CycleRestoration.load_from_checkpoint(adversarial)


def test_a_checkpoint_without_a_config_is_refused(adversarial: Path, tmp_path: Path) -> None:
    content = read_checkpoint(adversarial)
    for record in (None, {}, {"model": {}}):
        write_checkpoint({**content, "record": record}, tmp_path / "bare.ckpt")
        with pytest.raises(UserError, match="records no config"):
            PairedRestoration.load_from_checkpoint(tmp_path / "bare.ckpt")


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("key", ["loss__l1", "model", "module", "optimizer__generator", "discriminator"])
def test_code_outside_of_deblurlab_is_not_imported_without_trust(key: str, adversarial: Path, tmp_path: Path) -> None:
    changed = _changed(adversarial, tmp_path, **{key: "recorded_package.Loss"})
    for trust in ([], ["recorded"], ["recorded_package.Step"]):
        with pytest.raises(UserError, match="names recorded_package.Loss, which isn't part of deblurlab"):
            PairedRestoration.load_from_checkpoint(changed, trust=trust)
    assert "recorded_package" not in sys.modules


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("target", ["os.system", "builtins.exec", "deblurlab.cli.main.sys.exit", "torch.load"])
def test_a_node_within_a_node_is_checked_too(target: str, adversarial: Path, tmp_path: Path) -> None:
    content = read_checkpoint(adversarial)
    content["record"]["loss"]["l1"]["inner"] = [{"deep": {"_target_": target}}]
    write_checkpoint(content, tmp_path / "changed.ckpt")
    with pytest.raises(UserError, match=f"names {target}, which isn't part of deblurlab"):
        PairedRestoration.load_from_checkpoint(tmp_path / "changed.ckpt", trust=["recorded_package"])


@pytest.mark.usefixtures("package")
def test_a_trusted_package_allows_what_it_defines(
    adversarial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = _changed(adversarial, tmp_path, loss__l1="recorded_package.Loss", module="recorded_package.Step")
    assert type(PairedRestoration.load_from_checkpoint(changed, trust=["recorded_package"])).__name__ == "Step"
    monkeypatch.setenv("DEBLURLAB_TRUST", "recorded_package")
    loaded = PairedRestoration.load_from_checkpoint(changed)
    assert type(loaded.terms["l1"]).__name__ == "Loss"
    with pytest.raises(UserError, match="names recorded_package.dedent, which is of textwrap"):
        PairedRestoration.load_from_checkpoint(_changed(adversarial, tmp_path, loss__l1="recorded_package.dedent"))


@pytest.mark.usefixtures("package")
def test_the_class_itself_is_trusted(adversarial: Path, tmp_path: Path) -> None:
    import recorded_package  # type: ignore[import-not-found]

    changed = _changed(adversarial, tmp_path, module="recorded_package.Step")
    assert type(recorded_package.Step.load_from_checkpoint(changed)) is recorded_package.Step
