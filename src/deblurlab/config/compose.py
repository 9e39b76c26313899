"""Composition of a configuration outside of `hydra.main`."""

import hydra
from hydra import initialize_config_dir
from hydra.core.plugins import Plugins
from omegaconf import DictConfig

from deblurlab._compat import hydra_version_base, separate_hydra_state
from deblurlab.config.search_path import CONF, SearchPath
from deblurlab.config.sums import PathSource, SumSource


def register() -> None:
    """Register the config sources and the search path with Hydra. Repeated calls have no effect."""
    for plugin in (SumSource, PathSource, SearchPath):
        Plugins.instance().register(plugin)


def compose(*overrides: str, name: str = "train") -> DictConfig:
    """Return the configuration that a command line with these overrides composes.

    The caller's own Hydra state is restored, so that this works inside `hydra.initialize` and `hydra.main`.

    Raises:
        hydra.errors.HydraException: An option or key doesn't exist.
    """
    register()
    with separate_hydra_state(), initialize_config_dir(str(CONF), **hydra_version_base()):
        return hydra.compose(name, overrides=["run=none", *overrides])
