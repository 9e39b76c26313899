"""Hydra configuration: search path, sum expressions, resolvers, composition and instantiation.

Imports nothing but Hydra, so that `--help` and shell completion are fast.
"""

from deblurlab.config import resolvers
from deblurlab.config.compose import compose, register
from deblurlab.config.instantiation import allow_targets, find_target, instantiate
from deblurlab.config.plain import to_plain
from deblurlab.config.search_path import CONF, SWEEPS, options

__all__ = [
    "CONF",
    "SWEEPS",
    "allow_targets",
    "compose",
    "find_target",
    "instantiate",
    "options",
    "register",
    "resolvers",
    "to_plain",
]
