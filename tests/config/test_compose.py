"""Composition outside of `hydra.main`."""

import re
from pathlib import Path

import hydra
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.version import getbase

from deblurlab import config
from deblurlab._compat import hydra_version_base
from deblurlab.errors import UserError


def test_compose_keeps_the_callers_hydra_state() -> None:
    other = "1.2" if hydra_version_base() else "1.3"  # than the one of `compose`
    with initialize_config_dir(str(config.CONF / "data"), version_base=other):
        assert str(getbase()) == other
        before, base = GlobalHydra.instance().hydra, getbase()
        assert config.compose("model=unet").model
        with pytest.raises(HydraException):
            config.compose("model=nope")
        assert (GlobalHydra.instance().hydra, getbase()) == (before, base)
        assert "root" in hydra.compose("gopro")
    assert not GlobalHydra.instance().is_initialized()


def test_compose_leaves_hydra_uninitialized() -> None:
    config.compose()
    assert not GlobalHydra.instance().is_initialized()


def test_options_are_the_files_of_a_group() -> None:
    assert {"l1", "vgg", "adv"} <= set(config.options("loss"))
    assert config.options("nope") == []


def test_options_of_config_folders_are_found_after_the_shipped_ones(tmp_path: Path) -> None:
    for folder, scale in (("first", 2), ("second", 3)):
        (tmp_path / folder / "loss").mkdir(parents=True)
        (tmp_path / folder / "loss" / f"{folder}.yaml").write_text(f"{folder}: {{_target_: mine.Loss, scale: {scale}}}")
    (tmp_path / "first" / "loss" / "l1.yaml").write_text("l1: {_target_: mine.L1}")
    cfg = config.compose("loss=l1+0.5*first+second", config_dirs=[tmp_path / "first", str(tmp_path / "second")])
    assert cfg.loss.first == {"_target_": "mine.Loss", "scale": 2, "weight": 0.5}
    assert cfg.loss.second.scale == 3
    assert cfg.loss.l1._target_ == config.compose().loss.l1._target_ == "deblurlab.losses.L1"
    with pytest.raises(HydraException, match="unknown loss first"):  # of this call only
        config.compose("loss=l1+first")


def test_a_config_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf=own" / "psf").mkdir(parents=True)
    (tmp_path / "conf=own" / "psf" / "mine.yaml").write_text("_target_: mine.Psf")
    assert config.compose("psf=mine", name="evaluate", config_dirs=["conf=own"]).psf._target_ == "mine.Psf"
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "nope"))):
        config.compose(config_dirs=["nope"])
