"""Generators: their base class, and how any `nn.Module` is run as one. Padding, cropping, multi-scale output."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from deblurlab.errors import SizeError, UserError, first_sentence
from deblurlab.models.padding import PaddingMode, padding_of

KeyRenaming = tuple[str, str | Callable[[re.Match[str]], str]]
"""Regular expression and replacement, as arguments of `re.sub`."""

Restored = Tensor | list[Tensor]
"""Restored images `(B, 3, H, W)`, or a list of them at several scales, coarse to fine."""

_REMEDY = "if its sides must be multiples of a number, set that as model.multiple_of or as the class's multiple_of"


class Provenance(NamedTuple):
    """Origin of an architecture or of a variant of it, for the table of docs/models.md."""

    title: str
    """Name and venue, such as "NAFNet, ECCV 2022"."""
    paper: str = ""
    """Address of the publication."""
    code: str = ""
    """Address of the original code."""
    licence: str = ""
    """Licence of the original weights."""
    gopro: str = ""
    """PSNR and SSIM on the 1111 test pairs of GoPro as published, with their source in brackets."""
    arguments: Mapping[str, Any] = MappingProxyType({})
    """Arguments of the variant; other arguments may have any value."""


class Model(nn.Module, ABC):
    """Generator: network from blurred to restored images of any size.

    Images are `(B, 3, H, W)` RGB in [0, 1]. A network that needs another range converts inside `restore`. The output
    isn't clamped. A model that restores at several scales returns all scales, coarse to fine, in training mode and the
    finest scale alone in evaluation mode.

    A subclass implements `restore`. Its input has sides that are multiples of `multiple_of` and at least `min_size`
    (itself a multiple of `multiple_of`). `forward` pads to such a size and crops the result.
    """

    multiple_of: int = 1
    min_size: int = 1
    image_padding: PaddingMode = "reflect"
    """Values of padded pixels. The key `padding` of a config node sets it."""
    always_pad: bool = False
    """Pad sides that are multiples already by one more multiple, in evaluation mode. The key `always_pad` of a config
    node sets it."""
    key_renamings: ClassVar[Sequence[KeyRenaming]] = ()
    """Renamings from the state-dict keys of the original project to those of this class, applied to every key in this
    order. A key that becomes empty is dropped: its weight isn't used by the forward pass."""
    provenance: ClassVar[Sequence[Provenance]] = ()
    """Origin of each variant; the first one with equal arguments describes an option of conf/model."""
    original_arguments: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Arguments and attributes with which weights of the original project give its results. They replace those of
    conf/model when such weights are converted."""
    small_arguments: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Arguments with which tests build a small network."""

    @abstractmethod
    def restore(self, blurred: Tensor) -> Restored:
        """Restore a batch whose sides are multiples of `multiple_of` and at least `min_size`."""

    def forward(self, blurred: Tensor) -> Restored:
        """Restore a batch of any size."""
        padded = padding_of(self)(blurred)
        return _crop(self.restore(padded), padded.shape, blurred.shape)


def run_generator(generator: nn.Module, blurred: Tensor) -> Restored:
    """Restore a batch of any size, `(B, 3, H, W)`, with a `Model` or with any other module.

    Images for another module are padded to sides that are multiples of its attribute `multiple_of` (default: 1), with
    the values that its attribute `image_padding` names (default: reflection), and its result is cropped. It must return
    images of the size of its input, or a list of which the last ones have that size.

    Raises:
        UserError: The module returns neither a tensor nor a list of tensors.
        SizeError: The result has another size or, while gradients are disabled, the module raises an error.
    """
    if isinstance(generator, Model):
        restored: Restored = generator(blurred)
        return restored
    padding = padding_of(generator)._replace(min_size=1)
    padded, name = padding(blurred), type(generator).__name__
    size = f"{blurred.shape[-1]}x{blurred.shape[-2]} pixels, multiple_of={padding.multiple_of}"
    try:
        restored = generator(padded)
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        # In training, all crops have a size that the user chose: there, the error's traceback is more useful.
        if torch.is_grad_enabled() or isinstance(error, torch.OutOfMemoryError):
            raise
        raise SizeError(f"{name} can't restore an image of {size}: {first_sentence(error)}; {_REMEDY}") from error
    listed = [restored] if isinstance(restored, Tensor) else restored
    if not isinstance(listed, (list, tuple)) or not listed or not all(isinstance(scale, Tensor) for scale in listed):
        raise UserError(f"{name} returned {restored!r:.60}: a generator returns a tensor, or a list of them")
    finest = listed[-1]
    if finest.shape != padded.shape:
        shapes = " for ".join("x".join(map(str, tensor.shape)) for tensor in (finest, padded))
        remedy = f"; {_REMEDY}" if finest.shape[-2:] != padded.shape[-2:] else ""
        raise SizeError(f"{name} can't restore an image of {size}: it returns {shapes}{remedy}")
    return _crop(restored, padded.shape, blurred.shape)


def _crop(restored: Restored, padded: torch.Size, original: torch.Size) -> Restored:
    """Crop restored images at all scales from the padded to the original size."""
    height, width = original[-2:]
    if padded == original:
        return restored
    if isinstance(restored, Tensor):
        return restored[..., :height, :width]
    factors = [padded[-2] // scale.shape[-2] for scale in restored]
    return [scale[..., : -(-height // n), : -(-width // n)] for scale, n in zip(restored, factors, strict=True)]
