"""Syntax of Hydra overrides: errors that show the quoting."""

import re
import shlex
from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from deblurlab.errors import UserError


def check_syntax(overrides: Iterable[str]) -> None:
    """Raise UserError for an override that Hydra can't parse, with the quoting that its value needs.

    Example:
        >>> check_syntax(["data.root=photos (2020)"])
        Traceback (most recent call last):
        deblurlab.errors.UserError: data.root=photos (2020) needs quotes: write 'data.root="photos (2020)"'
    """
    parser = OverridesParser.create()
    for override in overrides:
        try:
            parser.parse_override(override)
        except HydraException as error:
            key, equals, value = override.partition("=")
            quoted = f"{key}={equals and quote(value)}"
            if not equals or not _parses(parser, quoted):
                raise UserError(f"{override} isn't an override: write key=value") from error
            raise UserError(f"{override} needs quotes: write {shlex.quote(quoted)}") from error


def _parses(parser: OverridesParser, override: str) -> bool:
    try:
        parser.parse_override(override)
    except HydraException:
        return False
    return True


def quote(value: str) -> str:
    """Return a value in double quotes, in which Hydra takes a quote or backslashes before one with a backslash."""
    inner = value[1:-1] if len(value) > 1 and value[0] == value[-1] in "'\"" else value
    return '"' + re.sub(r'(\\*)("|$)', lambda match: 2 * match[1] + ("\\" + match[2] if match[2] else ""), inner) + '"'
