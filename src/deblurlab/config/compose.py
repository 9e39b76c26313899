"""Composition of a configuration outside of `hydra.main`."""

from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra import initialize_config_dir
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, open_dict

from deblurlab._compat import hydra_version_base, separate_hydra_state
from deblurlab.config.instantiation import allow_targets, targets_of_user
from deblurlab.config.overrides import check_syntax
from deblurlab.config.search_path import CONF, SearchPath, search_folders
from deblurlab.config.sums import PathSource, SumSource


def register() -> None:
    """Register the config sources and the search path with Hydra. Repeated calls have no effect."""
    for plugin in (SumSource, PathSource, SearchPath):
        Plugins.instance().register(plugin)


def compose(*overrides: str, name: str = "train", config_dirs: Sequence[str | Path] = ()) -> DictConfig:
    """Return the configuration that a command line with these overrides composes.

    The caller's own Hydra state is restored, so that this works inside `hydra.initialize` and `hydra.main`. `run`, the
    run folder, is "none" unless an override sets it.

    Args:
        overrides: As on the command line: `group=option`, `key=value`.
        name: "train" or "evaluate".
        config_dirs: Folders with options of your own, as `--config-dir`. `instantiate` may call the targets in them and
            in the overrides, also with the whitelist of Hydra 1.4.

    Raises:
        UserError: A folder doesn't exist, or an override can't be parsed.
        hydra.errors.HydraException: An option or key doesn't exist.

    Example:
        >>> cfg = compose("model=nafnet_16", "loss=l1+0.1*ssim", "optimizer.lr=0.001")
        >>> cfg.loss.ssim.weight, cfg.optimizer.generator.lr
        (0.1, 0.001)
    """
    register()
    check_syntax(overrides)
    with separate_hydra_state(), search_folders(config_dirs), initialize_config_dir(str(CONF), **hydra_version_base()):
        cfg = hydra.compose(name, overrides=["run=none", *overrides], return_hydra_config=True)
    allow_targets(targets_of_user(cfg.hydra))
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg
