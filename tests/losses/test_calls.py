"""Arguments that loss functions get by the names in their signatures, and checks of their values."""

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.errors import UserError
from deblurlab.losses import L1, AdversarialFunctions
from deblurlab.losses.calls import Call, as_loss_term

RESTORED, SHARP, BLURRED = (torch.full((2, 3, 4, 4), value) for value in (0.5, 0.75, 0.125))
VALUES = {"restored": RESTORED, "sharp": SHARP, "blurred": BLURRED, "global_step": 7}


def _call(function: Callable[..., Any]) -> Call:
    return Call("loss own", as_loss_term("own", function), leading=("restored", "sharp"))


class Module(nn.Module):
    def forward(self, x: Tensor, y: Tensor, *, blurred: Tensor) -> Tensor:
        return (x + 2 * y + 4 * blurred).mean()


def _all_by_name(global_step: int, blurred: Tensor, sharp: Tensor, restored: Tensor) -> Tensor:
    return (restored + 2 * sharp + 4 * blurred).mean() + 100 * global_step


def _optional(restored: Tensor, target: Tensor, scale: float = 2.0, blurred: Tensor | None = None) -> Tensor:
    return (restored + scale * target).mean() + (math.nan if blurred is None else 4 * blurred.mean())


def _bound(prediction: Tensor, target: Tensor, blurred: float) -> Tensor:
    return (prediction + 2 * target).mean() + blurred


@pytest.mark.parametrize(
    ("function", "value", "names"),
    [
        (L1(), 0.25, {"restored", "sharp"}),
        (nn.MSELoss(), 0.0625, {"restored", "sharp"}),
        (F.l1_loss, 0.25, {"restored", "sharp"}),
        (lambda a, b: (a + 2 * b).mean(), 2.0, {"restored", "sharp"}),
        (lambda sharp, restored: (restored + 2 * sharp).mean(), 2.0, {"restored", "sharp"}),
        (lambda restored: restored.mean(), 0.5, {"restored"}),
        (lambda image: image.mean(), 0.5, {"restored"}),
        (lambda x, blurred: (x + 4 * blurred).mean(), 1.0, {"restored", "blurred"}),
        (lambda *images: (images[0] + 2 * images[1]).mean(), 2.0, {"restored", "sharp"}),
        (Module(), 2.5, {"restored", "sharp", "blurred"}),
        (_all_by_name, 702.5, {"restored", "sharp", "blurred", "global_step"}),
        (_optional, 2.5, {"restored", "sharp", "blurred"}),
        (partial(_bound, blurred=8.0), 10.0, {"restored", "sharp"}),
        (lambda sharp, pred: (pred + 2 * sharp).mean(), 2.0, {"restored", "sharp"}),
        (lambda target, restored: (restored + 2 * target).mean(), 2.0, {"restored", "sharp"}),
        (lambda blurred, pred: (pred + 4 * blurred).mean(), 1.0, {"restored", "blurred"}),
        (lambda blurred, pred, target: (pred + 2 * target + 4 * blurred).mean(), 2.5, {"restored", "sharp", "blurred"}),
    ],
)  # fmt: skip
def test_a_function_gets_what_its_arguments_name(function: Callable[..., Any], value: float, names: set[str]) -> None:
    call = _call(function)
    assert call(VALUES).item() == value  # powers of two: exact
    assert call.names == names


@pytest.mark.parametrize(
    ("function", "argument", "leading"),
    [
        (lambda target, prediction: 0, "target would get restored", ("restored", "sharp")),
        (lambda pred, restored: 0, "pred would get sharp", ("restored", "sharp")),
        (lambda fake_logits, real_logits: 0, "fake_logits would get real", ("real", "fake")),
    ],
)
def test_names_that_mean_another_value_are_refused(
    function: Callable[..., Any], argument: str, leading: tuple[str, str]
) -> None:
    with pytest.raises(UserError, match=f"loss own: the argument {argument}, because of its place"):
        Call("loss own", function, leading=leading)


def test_a_function_without_a_signature_gets_the_leading_values() -> None:
    with pytest.raises(ValueError, match="no signature found"):
        inspect.signature(torch.dist)
    assert Call("loss own", torch.dist, leading=("restored", "sharp"))(VALUES).item() == pytest.approx(
        0.25 * math.sqrt(96)
    )


@pytest.mark.parametrize("function", [lambda restored, sharp, depth: restored.mean(), lambda x, y, *, depth: x.mean()])
def test_an_argument_that_no_value_belongs_to_is_one_line(function: Callable[..., Any]) -> None:
    with pytest.raises(
        UserError, match="^loss own has an argument depth without a default value: it gets restored, sharp, blurred, "
    ):
        _call(function)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda a, b: (a - b).abs().mean(dim=(1, 2, 3)), r"returned a tensor of shape \(2,\) instead of one value"),
        (nn.L1Loss(reduction="none"), r"returned a tensor of shape \(2, 3, 4, 4\) instead of one value"),
        (lambda a, b: (a - b).abs().mean().item(), "returned float instead of a tensor with one value"),
        (lambda a, b: None, "returned NoneType instead of a tensor"),
    ],
)  # fmt: skip
def test_values_that_are_no_scalar_are_one_line(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^loss own {message}") as caught:
        _call(function)(VALUES)
    assert "\n" not in str(caught.value)


def test_other_objects_are_no_loss_terms() -> None:
    with pytest.raises(UserError, match=r"loss.own is a float instead of a module or a function.*_partial_: true"):
        as_loss_term("own", 0.5)


@pytest.mark.parametrize(
    ("generator", "needs_real"),
    [(lambda fake: fake.mean(), False), (lambda x: x.mean(), False), (lambda real, fake: (fake - real).mean(), True)],
)
def test_the_output_on_sharp_images_is_computed_if_the_generators_function_asks_for_it(
    generator: Callable[..., Tensor], needs_real: bool
) -> None:
    loss = AdversarialFunctions(generator=generator, discriminator=lambda real, fake: (fake - real).mean())
    assert loss.generator_needs_real is needs_real


def test_adversarial_functions_with_other_arguments_are_one_line() -> None:
    with pytest.raises(UserError, match="the generator's function has an argument y without a default value"):
        AdversarialFunctions(generator=lambda x, y: x.mean(), discriminator=lambda real, fake: real.mean())
    with pytest.raises(UserError, match="the discriminator's function has an argument z"):
        AdversarialFunctions(generator=lambda fake: fake.mean(), discriminator=lambda x, y, z: x.mean())
