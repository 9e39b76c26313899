"""Composition outside of `hydra.main`."""

import hydra
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.version import getbase

from deblurlab import config
from deblurlab._compat import hydra_version_base


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
