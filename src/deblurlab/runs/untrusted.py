"""Parsing of untrusted JSON, YAML and paths, and the names of code that the user trusts."""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from deblurlab.errors import UserError, first_sentence

_MAX_YAML_BYTES = 2**20
_MAX_YAML_DEPTH = 32
TRUST_VARIABLE = "DEBLURLAB_TRUST"
"""Environment variable with the packages and classes that the user trusts, separated by commas."""
_DOTTED_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def parse_json(text: str) -> Any:
    """Return the content of a JSON text.

    Raises:
        ValueError: The text isn't JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_yaml(path: Path) -> Any:
    """Return the plain data in a YAML file. Interpolations (`${...}`) stay text.

    Raises:
        UserError: The file can't be read, is large or deeply nested, or holds tags or anchors. No run writes those, and
            a few lines with anchors can expand to gigabytes.
    """
    try:
        if path.stat().st_size > _MAX_YAML_BYTES:
            raise ValueError(f"it has {path.stat().st_size / 1e6:.0f} MB")
        text = path.read_text()
        depth = 0
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise ValueError("it has an anchor or a tag")
            begins, ends = isinstance(event, yaml.CollectionStartEvent), isinstance(event, yaml.CollectionEndEvent)
            depth += begins - ends
            if depth > _MAX_YAML_DEPTH:
                raise ValueError("it is nested too deeply")
        return OmegaConf.to_container(OmegaConf.create(text)) if text.strip() else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path} can't be read as a run's YAML: {first_sentence(error)}") from error


def is_safe_relative_path(name: str) -> bool:
    """Return whether a path is relative and has no `..` component. Links aren't followed."""
    path = PurePosixPath(name)
    return name not in ("", ".") and "\0" not in name and not path.is_absolute() and ".." not in path.parts


def is_inside(file: Path, folder: Path) -> bool:
    """Return whether a file is below a folder after links are resolved."""
    try:
        return file.resolve().is_relative_to(folder.resolve())
    except ValueError:  # no file can have such a name
        return False


def trusted_names(given: Iterable[str] = ()) -> list[str]:
    """Return the given names of packages and classes, and those of the environment variable DEBLURLAB_TRUST.

    Raises:
        UserError: One isn't a dotted name.
    """
    listed = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    names = [*listed, *(name.strip() for name in os.environ.get(TRUST_VARIABLE, "").split(",") if name.strip())]
    for name in names:
        if not is_dotted_name(name):
            raise UserError(f"trust={name!r:.100} isn't the name of a package or class, such as mine or mine.nets.Net")
    return names


def is_trusted(target: str, names: Iterable[str]) -> bool:
    """Return whether a dotted name is among trusted names, or in a package among them."""
    return any(target == name or target.startswith(f"{name}.") for name in names)


def is_dotted_name(name: object) -> bool:
    """Return whether a value is the name of a Python module, or of an object in one."""
    return isinstance(name, str) and _DOTTED_NAME.fullmatch(name) is not None
