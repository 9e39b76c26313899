"""Networks of classes outside of deblurlab: they are imported and called only if the user trusts them."""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from deblurlab.config.networks import set_attributes, split_attributes
from deblurlab.errors import UserError, first_sentence, printable
from deblurlab.runs.untrusted import TRUST_VARIABLE, is_dotted_name, is_trusted, trusted_names


def build_trusted(node: Mapping[str, Any], trust: Sequence[str], path: Path) -> nn.Module:
    """Build the network that a file names in a config node, and the nodes within it.

    Args:
        node: Config node, `{"_target_": ..., **arguments}`.
        trust: Packages and classes that the node may name, besides those of the environment variable DEBLURLAB_TRUST.
            A package allows its subclasses of `torch.nn.Module`; everything else must be named itself.
        path: The file, for messages.

    Raises:
        UserError: A class isn't trusted, can't be imported or isn't a network.
    """
    target, arguments, names = node["_target_"], without_pretrained(node), trusted_names(trust)
    _check_trusted(target, names, path)
    network = _import(target, names, path)
    arguments, attributes = split_attributes(network, arguments)
    built = network(**_build(arguments, names, path))
    if not isinstance(built, nn.Module):
        raise UserError(f"{path} names {target:.200}, which isn't a torch.nn.Module")
    return set_attributes(built, attributes)


def without_pretrained(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a node without those that name pretrained weights, which would be overwritten."""
    return {key: value for key, value in node.items() if key != "_target_" and not str(key).endswith("_weights")}


def _build(node: Any, names: Sequence[str], path: Path) -> Any:
    """Return a node's value; nodes with `_target_` are called, as Hydra does."""
    if isinstance(node, list):
        return [_build(item, names, path) for item in node]
    if not isinstance(node, Mapping):
        return node
    if "_target_" not in node:
        return {key: _build(value, names, path) for key, value in node.items()}
    _check_trusted(node["_target_"], names, path)
    arguments = {key: _build(value, names, path) for key, value in node.items() if key not in ("_target_", "_partial_")}
    found = _import(node["_target_"], names, path)
    return partial(found, **arguments) if node.get("_partial_") is True else found(**arguments)


def _check_trusted(target: Any, names: Sequence[str], path: Path) -> None:
    if isinstance(target, str) and is_trusted(target, names):
        return
    example = target if is_dotted_name(target) and len(target) <= 100 else "CLASS"  # never quotes a shell's syntax
    raise UserError(
        f"{path} names {printable(str(target), 200)}, which isn't a model of deblurlab: loading it runs that class. If "
        f"you trust it, add --trust {example}, or trust=[{example}] to evaluate, or set {TRUST_VARIABLE}={example} "
        f"once for all commands"
    )


def _import(target: str, names: Sequence[str], path: Path) -> Any:
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # the module's own code may raise any
        raise UserError(
            f"{path} names {target:.200}, which can't be imported ({type(error).__name__}: {first_sentence(error)}): "
            f"is its folder in PYTHONPATH?"
        ) from error
    if target not in names and not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UserError(
            f"{path} names {target:.200}, which isn't a subclass of torch.nn.Module, and a trusted package allows only "
            f"those: if you trust it, name it itself, --trust {target:.200}"
        )
    return found
