"""Instantiation of config nodes."""

import difflib
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hydra.utils
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import MissingMandatoryValue, OmegaConf

from deblurlab._compat import hydra_execution_whitelist, hydra_location_failure
from deblurlab.config.search_path import CONF, SWEEPS
from deblurlab.errors import UserError, first_sentence

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
_named_in_python: set[str] = set()
"""Targets in configs composed with `compose`, and others that Python code has allowed."""


def instantiate(node: Any, **arguments: Any) -> Any:
    """Return the object that a config node describes with `_target_`; nested nodes first.

    Containers become plain lists and dicts, so that classes don't depend on OmegaConf and checkpoints contain plain
    data only. From Hydra 1.4 on, a target must be in one of `_TRUSTED_PACKAGES`, or its name must stand in an override
    or in a file of the user's config folders, of the command line or of `compose`; earlier versions have no such check.

    Args:
        node: Config node or plain dict.
        arguments: Further keyword arguments of the target.

    Raises:
        UserError: The target raised it or can't be imported, or a mandatory value is missing.
        hydra.errors.InstantiationException: The target isn't allowed or rejects its arguments; the cause is chained.

    Example:
        >>> instantiate({"_target_": "deblurlab.losses.Charbonnier", "epsilon": 0.1})
        Charbonnier()
    """
    allowed = hydra_execution_whitelist(_allowed_targets())
    try:
        return hydra.utils.instantiate(node, _convert_="all", **allowed, **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        if failure := hydra_location_failure(error):
            raise UserError(_explain(*failure)) from error
        raise
    except UserError:
        raise
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no value: set {error.full_key}=...") from error
    except Exception as error:  # Hydra 1.4 raises the target's own error, with the key of the node as a note
        notes = getattr(error, "__notes__", [])
        raise InstantiationException("\n".join([f"Error in call to target: {error!r}", *notes])) from error


def find_target(node: Any) -> Any:
    """Return the class or function that a config node names, without calling it.

    Raises:
        UserError: The target can't be imported.
        hydra.errors.InstantiationException: The target isn't allowed.
    """
    return instantiate({"_target_": node["_target_"], "_partial_": True}).func


def allow_targets(targets: Iterable[str]) -> None:
    """Let `instantiate` call these targets in this process: the user trusts them."""
    _named_in_python.update(targets)


def _allowed_targets() -> list[str]:
    """Return the patterns of Hydra's execution whitelist: trusted packages and the targets that the user names."""
    of_command = set(targets_of_user(HydraConfig.get())) if HydraConfig.initialized() else set()
    return [*(f"{package}.*" for package in _TRUSTED_PACKAGES), *sorted(of_command | _named_in_python)]


def targets_of_user(job: Any) -> Iterator[str]:
    """Yield the targets that the user names in a composed config, whose node `hydra` is `job`.

    They are in the overrides and in the files of the config folders (`--config-dir`, `hydra.searchpath`).
    """
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


def _explain(target: str, error: BaseException) -> str:
    """Return why a target can't be imported: no such module, no such name in it, or an error while it is imported."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if isinstance(error, AttributeError) and not isinstance(error.obj, ModuleType):  # no module: of a class
        missing = f"{target.rpartition(f'.{error.name}')[0]}.{error.name}"
    if missing is not None and f"{target}.".startswith(f"{missing}."):
        parent, _, name = missing.rpartition(".")
        return f"_target_: {target} doesn't exist: {_missing_name(parent, name)}"
    if "" in target.split("."):
        return f"_target_: {target} isn't the name of a class or a function, such as torch.optim.Adam"
    frames = [x for x in traceback.extract_tb(error.__traceback__) if not x.filename.startswith("<frozen")]
    place = "" if isinstance(error, SyntaxError) else f" ({frames[-1].filename}, line {frames[-1].lineno})"
    return f"_target_: {target} can't be imported: {type(error).__name__}: {first_sentence(error)}{place}"


def _missing_name(parent: str, name: str) -> str:
    """Return a message that a module has no name `name`, or that there is no module `name` if it has no parent."""
    if not parent:
        return f"there is no module {name}; is PYTHONPATH set?"
    module = sys.modules.get(parent)
    if module is None:
        return f"{parent} has no {name}"
    places = [module.__file__] if getattr(module, "__file__", None) else list(getattr(module, "__path__", ()))
    similar = difflib.get_close_matches(name, dir(module), n=1)
    hint = f"; is it {similar[0]}?" if similar else "; is PYTHONPATH set?" if hasattr(module, "__path__") else ""
    return f"{parent} ({', '.join(map(str, places))}) has no {name}{hint}"
