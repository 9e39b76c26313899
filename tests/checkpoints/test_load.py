"""Trained models from releases and checkpoints, current and old."""

import logging
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from deblurlab.checkpoints.load import generator_weights, load_model
from deblurlab.checkpoints.release import write_release
from deblurlab.errors import UserError
from deblurlab.models import UNetRes
from deblurlab.runs.folder import Run
from steps import same


def test_a_release_with_a_renamed_argument_loads(tmp_path: Path) -> None:
    """Releases written before the rename call `max_width` `widest`."""
    model = UNetRes(width=4, depth=2, blocks=1, max_width=8)
    node = {"_target_": "deblurlab.models.UNetRes", "width": 4, "depth": 2, "blocks": 1, "widest": 8}
    write_release(tmp_path / "old", OmegaConf.create(node), model.state_dict(), {})
    loaded = load_model(tmp_path / "old")
    assert isinstance(loaded, UNetRes)
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_averaged_weights_are_preferred(tmp_path: Path) -> None:
    average = {"updates": 3, "average": {"a": torch.ones(2)}}
    state = {"generator.a": torch.zeros(2), "generator.b": torch.zeros(1), "discriminator.a": torch.zeros(1)}
    torch.save({"state_dict": state, "callbacks": {"EMA": average}}, tmp_path / "x.ckpt")
    weights = generator_weights(tmp_path / "x.ckpt")
    assert {name: value.tolist() for name, value in weights.items()} == {"a": [1, 1], "b": [0]}
    torch.save({"state_dict": state, "callbacks": {"EMA": {**average, "updates": 0}}}, tmp_path / "x.ckpt")
    assert generator_weights(tmp_path / "x.ckpt")["a"].tolist() == [0, 0]  # an average without updates isn't used


def test_the_last_checkpoint_replaces_a_damaged_best_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(tmp_path)
    run.checkpoints.mkdir()
    run.best_checkpoint.write_bytes(b"damaged")
    torch.save({"state_dict": {"generator.a": torch.ones(1)}}, run.last_checkpoint)
    with caplog.at_level(logging.WARNING):
        assert generator_weights(tmp_path)["a"].item() == 1
    assert f"{run.last_checkpoint} is used instead" in caplog.text
    with pytest.raises(UserError, match=r"best\.ckpt can't be read"):
        generator_weights(tmp_path, exact=True)


def test_an_invalid_checkpoint_holds_no_generator(tmp_path: Path) -> None:
    for state in ({"generator.a": torch.ones(1), "generator.b": 3}, {"discriminator.a": torch.ones(1)}):
        torch.save({"state_dict": state}, tmp_path / "x.ckpt")
        with pytest.raises(UserError, match=r"x\.ckpt holds no generator"):
            generator_weights(tmp_path / "x.ckpt")
    torch.save({"state_dict": {"generator.a": torch.ones(1).expand(99)}}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=r"x\.ckpt holds weights that are larger than their bytes"):
        generator_weights(tmp_path / "x.ckpt")


def test_a_run_and_a_checkpoint_name_their_model(tmp_path: Path) -> None:
    model = UNetRes(width=4, depth=1, blocks=1)
    node = {"_target_": "deblurlab.models.UNetRes", "width": 4, "depth": 1, "blocks": 1}
    weights = {f"generator.{name}": value for name, value in model.state_dict().items()}
    content = {"state_dict": weights, "pytorch-lightning_version": "2.6.0"}
    run = Run(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    torch.save(content, run.best_checkpoint)
    with pytest.raises(UserError, match="run is neither a run nor a release"):
        load_model(run.folder)
    OmegaConf.save({"model": node}, run.config_file)
    torch.save({**content, "record": {"model": node}}, tmp_path / "x.ckpt")
    for path in (run.folder, tmp_path / "x.ckpt"):
        loaded = load_model(path)
        assert not loaded.training
        assert same(loaded.state_dict(), model.state_dict())
    with pytest.raises(UserError, match=r"best\.ckpt doesn't name the model of its weights"):
        load_model(run.best_checkpoint)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"depth": 4}, "its arguments describe a larger model than there are weights for"),
        ({"width": 8}, "the weights of .* belong to another model: size mismatch for stem.weight"),
        ({"width": 5000}, "its argument width isn't a plain value of a model: 5000"),
        ({"width": [[4]]}, "its argument width isn't a plain value of a model: of type list"),
        ({"_target_": "torch.nn.Identity"}, "names torch.nn.Identity, which isn't a model of deblurlab"),
    ],
)
def test_arguments_that_do_not_fit_the_weights_are_refused(tmp_path: Path, changed: dict, message: str) -> None:
    node = {"_target_": "deblurlab.models.UNetRes", "width": 4, "depth": 1, "blocks": 1, **changed}
    weights = UNetRes(width=4, depth=1, blocks=1).state_dict()
    write_release(tmp_path / "release", OmegaConf.create(node), weights, {})
    with pytest.raises(UserError, match=message):
        load_model(tmp_path / "release")
