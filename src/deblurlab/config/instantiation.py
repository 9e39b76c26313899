"""Instantiation of config nodes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra.utils
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from deblurlab._compat import hydra_execution_whitelist
from deblurlab.config.search_path import CONF, SWEEPS
from deblurlab.errors import UserError

_TRUSTED_PACKAGES = (
    "albumentations",
    "deblurlab",
    "lightning_fabric",
    "pytorch_lightning",
    "torch.nn",
    "torch.optim",
    "torchmetrics",
    "torchvision",
)
"""Packages whose classes and functions a config may name. Not all of torch, because `torch.load` executes pickles."""
_TARGET = re.compile(r"""_target_["']?\s*[:=]\s*["']?([\w.]+)""")


def instantiate(node: Any, **arguments: Any) -> Any:
    """Return the object that a config node describes with `_target_`; nested nodes first.

    Containers become plain lists and dicts, so that classes don't depend on OmegaConf and checkpoints contain plain
    data only. From Hydra 1.4 on, a target must be in one of `_TRUSTED_PACKAGES`, or its name must stand in an override
    of the command line or in a file of the user's config folders; earlier versions have no such check.

    Args:
        node: Config node or plain dict.
        arguments: Further keyword arguments of the target.

    Raises:
        UserError: The target raised it.
        hydra.errors.InstantiationException: The target can't be found, isn't allowed or rejects its arguments; the
            cause is chained.
    """
    allowed = hydra_execution_whitelist(_allowed_targets())
    try:
        return hydra.utils.instantiate(node, _convert_="all", **allowed, **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise
    except UserError:
        raise
    except Exception as error:  # Hydra 1.4 raises the target's own error, with the key of the node as a note
        notes = getattr(error, "__notes__", [])
        raise InstantiationException("\n".join([f"Error in call to target: {error!r}", *notes])) from error


def find_target(node: Any) -> Any:
    """Return the class or function that a config node names, without calling it.

    Raises:
        hydra.errors.InstantiationException: The target can't be found or isn't allowed.
    """
    return instantiate({"_target_": node["_target_"], "_partial_": True}).func


def _allowed_targets() -> list[str]:
    """Return the patterns of Hydra's execution whitelist: trusted packages and the targets that the user names."""
    return [*(f"{package}.*" for package in _TRUSTED_PACKAGES), *dict.fromkeys(_targets_of_user())]


def _targets_of_user() -> Iterator[str]:
    """Yield the targets in the overrides and the config folders (`--config-dir`, `hydra.searchpath`) of a Hydra job."""
    if not HydraConfig.initialized():
        return
    job = HydraConfig.get()
    overrides: Any = OmegaConf.to_container(job.overrides.task, resolve=False)  # they may contain interpolations
    for override in overrides:
        yield from _TARGET.findall(override)
    folders = {Path(source.path) for source in job.runtime.config_sources if source.schema == "file"}
    groups = {str(choice).partition("@")[0] for choice in job.runtime.choices}
    for folder in folders - {CONF, SWEEPS}:
        # Not all files: `--config-dir .` may contain run folders, whose configs are untrusted.
        for place in [folder, *(folder / group for group in groups)]:
            for file in place.glob("*.yaml"):
                yield from _TARGET.findall(file.read_text(encoding="utf-8", errors="replace"))
