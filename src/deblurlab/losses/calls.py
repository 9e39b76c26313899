"""Calls of loss terms with the values that their signatures ask for."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from deblurlab.errors import UserError
from deblurlab.losses.base import LossTerm

CONTEXT = ("restored", "sharp", "blurred", "global_step")
"""Values that every loss function gets if it has an argument of that name.

`blurred` is the image that the generator restored, in training without pairs the input of the generator in question.
`global_step` is the number of finished training steps.
"""
_OTHER_MEANINGS = {
    "restored": "targets?|gt|ground_truth|references?|labels?|y_true|hr|clean|sharp_.*",
    "sharp": "pred.*|outputs?|inputs?|y_pred|sr|restored_.*",
    "real": "fake.*|generated.*|restored.*",
    "fake": "real.*|sharp.*",
}
"""Names of arguments, as patterns, that usually mean another value."""
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Call:
    """A loss function and the values that it asks for, by the names of its arguments.

    The signature is inspected once, here. Arguments of other names, such as `input` and `target` in torch's losses, get
    those `leading` values that no argument names, in order.

    Args:
        name: Name of the function in messages, such as "loss mine".
        function: Function or module. It returns one value for the batch.
        leading: Names of the values for the first arguments.
        further: Names of further values.

    Raises:
        UserError: An argument without default has a name that is none of the values', or one that usually means another
            value than it would get.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], *, leading: Sequence[str], further: Sequence[str] = CONTEXT
    ) -> None:
        self.name, self._function = name, function
        self._positional, self._keywords = _requested(name, function, leading, further)
        self.names = {*self._positional, *self._keywords}
        """Names of the values that the function gets."""

    def __call__(self, values: Mapping[str, Any]) -> Tensor:
        """Return the function's value for a batch.

        Raises:
            UserError: It isn't a tensor with one value.
        """
        arguments = {name: values[name] for name in self._keywords}
        return check_scalar(self.name, self._function(*(values[name] for name in self._positional), **arguments))


class FunctionTerm(LossTerm):
    """Loss term of a plain function."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.forward = function


def as_loss_term(name: str, term: Any) -> nn.Module:
    """Return a module unchanged, and a function as a module.

    Raises:
        UserError: `term` is neither.
    """
    if isinstance(term, nn.Module):
        return term
    if callable(term):
        return FunctionTerm(term)
    raise UserError(
        f"loss.{name} is a {type(term).__name__} instead of a module or a function: a function of images needs "
        f"_partial_: true beside its _target_"
    )


def check_scalar(name: str, value: Any) -> Tensor:
    """Return the value of a loss.

    Raises:
        UserError: It isn't a tensor with one value.
    """
    if not isinstance(value, Tensor):
        raise UserError(f"{name} returned {type(value).__name__} instead of a tensor with one value for the batch")
    if value.ndim:
        raise UserError(
            f"{name} returned a tensor of shape {tuple(value.shape)} instead of one value for the batch: return its "
            f"mean"
        )
    return value


def _check_meaning(name: str, argument: str, value: str) -> None:
    """Raise UserError if the name of an argument says that it expects another value than it gets."""
    if argument != value and re.fullmatch(_OTHER_MEANINGS.get(value, ""), argument.lower()):
        raise UserError(
            f"{name}: the argument {argument} would get {value}, because of its place: call the arguments by the names "
            f"of the values"
        )


def _requested(
    name: str, function: Callable[..., Any], leading: Sequence[str], further: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the names of the values to pass by position, and of those to pass by keyword."""
    available = dict.fromkeys([*leading, *further])
    target = function.forward if isinstance(function, nn.Module) else function
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except ValueError:  # a function in C may have none
        return list(leading), []
    named = {parameter.name for parameter in parameters}
    unnamed = [value for value in leading if value not in named]  # for arguments of other names, in order
    positional: list[str] = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            return [*positional, *unnamed], []
        known = parameter.name in available
        if parameter.kind not in _POSITIONAL or not (known or (unnamed and parameter.default is parameter.empty)):
            break
        positional.append(parameter.name if known else unnamed.pop(0))
        _check_meaning(name, parameter.name, positional[-1])
    bound = getattr(target, "keywords", {})  # of functools.partial
    keywords = []
    for parameter in parameters[len(positional) :]:
        if parameter.name in available and parameter.name not in bound:
            keywords.append(parameter.name)
        elif parameter.kind in (*_POSITIONAL, parameter.KEYWORD_ONLY) and parameter.default is parameter.empty:
            raise UserError(
                f"{name} has an argument {parameter.name} without a default value: it gets {', '.join(available)} by "
                f"the names of its arguments"
            )
    return positional, keywords
