"""What the tests share beside fixtures."""

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from deblurlab import conf

SMALL = [
    "model.width=4", "model.depth=1", "model.blocks=1", "discriminator.width=4", "discriminator.n_layers=1",
]  # fmt: skip
"""Networks that train in no time."""


def config(*overrides: str, name: str = "train") -> DictConfig:
    """What a command line composes to."""
    conf.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf.CONF), version_base="1.3"):
        return compose(name, overrides=["run=unused", *overrides])


def option_names(group: str) -> list[str]:
    """The options of a config group, as they lie on disk."""
    return sorted(path.stem for path in (conf.CONF / group).glob("*.yaml"))
