"""Interface of discriminators."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from deblurlab.errors import UserError


class DiscriminatorOutput(NamedTuple):
    """Output of a discriminator for a batch of images."""

    logits: list[Tensor]
    """Logits, one map `(B, 1, h, w)` per scale or head; positive means real. No sigmoid is applied."""
    features: list[Tensor]
    """Intermediate activations `(B, C, h, w)`, from the shallowest layer to the deepest."""
    history: list[Tensor] | None = None
    """Mean logit of each head over past batches, a scalar tensor per head; None if no history is kept."""

    def means(self) -> list[Tensor]:
        """Return the mean logit of each head over past batches if a history is kept, else over this batch."""
        return [logits.mean() for logits in self.logits] if self.history is None else self.history


class Discriminator(nn.Module, ABC):
    """Network that classifies images as real or restored.

    Images are `(B, 3, H, W)` RGB in [0, 1]; values of restored images may be slightly outside. Other modules work as
    discriminators too, see `as_discriminator`.
    """

    min_size: int = 1
    """Minimum side of the images in pixels."""
    small_arguments: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Arguments with which tests build a small network."""

    @abstractmethod
    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        """Return logits and features of `image`.

        Args:
            image: Real or restored images, `(B, 3, H, W)`.
            blurred: Blurred images of the same shape, the condition of conditional discriminators.
        """


def as_discriminator(network: nn.Module) -> nn.Module:
    """Make any module a discriminator, which takes `(image, blurred)` and returns `DiscriminatorOutput`; return it.

    The module's `forward` takes the image, or the image and the blurred image. It returns logits of any shape `(B,
    ...)` as a tensor, or a list or tuple of tensors, one per scale or head; or `DiscriminatorOutput`.

    Raises:
        UserError: `forward` takes the blurred image only.

    Example:
        >>> import torch
        >>> network = as_discriminator(nn.Conv2d(3, 1, 4, stride=2))
        >>> image = torch.rand(2, 3, 8, 8)
        >>> [logits.shape for logits in network(image, image).logits]
        [torch.Size([2, 1, 3, 3])]
    """
    names = list(inspect.signature(network.forward).parameters)
    if "blurred" in names:
        network.register_forward_pre_hook(_by_name(names), with_kwargs=True)
    elif not _takes_blurred(network):
        network.register_forward_pre_hook(_without_condition)
    network.register_forward_hook(_normalised, with_kwargs=True)
    return network


def _by_name(names: list[str]) -> Callable[..., Any]:
    """Return a pre-hook that passes the blurred image by its name, and the image as the first other argument."""
    image = next((name for name in names if name != "blurred"), None)
    if image is None:
        raise UserError(
            "the discriminator's forward takes only blurred: it must take the restored or sharp image as well"
        )

    def pass_by_name(network: nn.Module, images: tuple[Tensor, ...], options: dict[str, Any]) -> Any:
        if len(images) < 2:  # passed by name already, or without a blurred image
            return None
        if names[0] == "blurred":
            return (), {image: images[0], "blurred": images[1]}
        return images[:1], {"blurred": images[1]}

    return pass_by_name


def _takes_blurred(network: nn.Module) -> bool:
    """Return whether `forward` has a second argument without default value, for the blurred image."""
    parameters = list(inspect.signature(network.forward).parameters.values())
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters[:2]):
        return True
    second = parameters[1] if len(parameters) > 1 else None
    if second is None or second.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        return False
    return second.default is inspect.Parameter.empty


def _without_condition(network: nn.Module, images: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return images[:1]


def _normalised(
    network: nn.Module, images: tuple[Tensor, ...], options: dict[str, Tensor], output: Any
) -> DiscriminatorOutput:
    """Return a discriminator's output as `DiscriminatorOutput`; a forward hook.

    Raises:
        UserError: These aren't logits of the batch.
    """
    images = (*images, *options.values())
    whole = isinstance(output, DiscriminatorOutput)
    found = output.logits if whole else output
    logits = list(found) if isinstance(found, (list, tuple)) else [found]
    name = f"the discriminator {type(network).__name__}"
    if not logits or not all(isinstance(each, Tensor) for each in logits):
        kinds = ", ".join(dict.fromkeys(type(each).__name__ for each in logits)) or "nothing"
        raise UserError(
            f"{name} returned {type(found).__name__} of {kinds}: it must return logits (B, ...) as a tensor or a list "
            f"of tensors, or DiscriminatorOutput"
        )
    for each in logits:
        if not each.ndim or len(each) != len(images[0]):
            raise UserError(
                f"{name} returned logits of shape {tuple(each.shape)} for {len(images[0])} images: it must return one "
                f"or more logits (B, ...) per image"
            )
    return output._replace(logits=logits) if whole else DiscriminatorOutput(logits, [])
