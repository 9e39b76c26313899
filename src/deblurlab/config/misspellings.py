"""One-line messages for groups, options and keys that don't exist, with the nearest one that does."""

from collections.abc import Iterable, Mapping

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from deblurlab.config.search_path import CONF, SWEEPS
from deblurlab.errors import UserError, did_you_mean

_OPTION_CUTOFF = 0.4
"""Smallest similarity of options, whose names are as short as `l1`; the message lists all options too."""


def explain(error: HydraException) -> str:
    """Return an error of Hydra's command line in one line, with the nearest name in place of a misspelt one."""
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        return _explain_option(error)
    if isinstance(error.__cause__, ConfigAttributeError | ConfigKeyError) and error.__cause__.full_key:
        return _explain_key(error.__cause__)
    lines = [*str(error).splitlines(), *str(error.__cause__ or "").splitlines()[:1]]
    return " ".join(line.strip() for line in lines if line.strip())


def check_added(overrides: Iterable[str], choices: Mapping[str, object], keys: Iterable[str]) -> None:
    """Raise UserError for `+name=value` that is nearly the name of a group: Hydra adds it as a key that nothing reads.

    Args:
        overrides: Overrides of the command line.
        choices: Chosen option of each config group.
        keys: Keys of the config at its root.
    """
    added = [override[1:].partition("=")[0] for override in overrides if override[:1] == "+" != override[1:2]]
    known = {*_groups(), *keys} - {*added}
    for name in added:
        if "." not in name and name.partition("@")[0] not in choices and (hint := did_you_mean(name, known)):
            raise UserError(f"there is no key or group {name}: {hint} (++{name}=... adds the key)")


def _explain_option(error: MissingConfigException) -> str:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    options = list(error.options or ())
    hint = did_you_mean(option, options, cutoff=_OPTION_CUTOFF)
    file = str(error).partition(":")[0].removeprefix("In ").strip("'")  # "In 'experiment/mine': Could not find ..."
    place = f" (in {file}.yaml)" if "/" in file and not file.startswith("hydra/") else ""
    return f"there is no option {option} of {group}{place}: {hint}{' ' * bool(hint)}options: {', '.join(options)}"


def _explain_key(error: ConfigAttributeError | ConfigKeyError) -> str:
    full, node = str(error.full_key), error.parent_node
    parent, _, key = full.rpartition(".")
    known = [str(name) for name in node if not str(name).startswith("_")] if isinstance(node, Mapping) else []
    if not parent:
        hint = did_you_mean(key, {*known, *_groups()})
        return f"there is no key or group {key}: {hint or '--help lists the groups, --cfg job the keys'}"
    hint = did_you_mean(key, known).replace("did you mean ", f"did you mean {parent}.")
    return f"there is no key {full}: {hint or f'keys of {parent}: ' + ', '.join(known)} (a leading + adds it)"


def _groups() -> set[str]:
    """Return the config groups, nested ones as `hydra/launcher`."""
    return {str(path.relative_to(root)) for root in (CONF, SWEEPS) for path in root.rglob("*") if path.is_dir()}
