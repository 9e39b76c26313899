"""PatchGAN against the published architecture."""

import pytest
import torch

from deblurlab.discriminators import PatchGAN
from deblurlab.models.cost import parameters


@pytest.mark.parametrize(
    ("arguments", "count"),
    [({}, 2_764_737), ({"norm": "batch"}, 2_765_633), ({"n_layers": 5}, 11_154_369)],
)
def test_parameters_as_published(arguments: dict[str, object], count: int) -> None:
    assert parameters(PatchGAN(**arguments)) == count  # type: ignore[arg-type]


def test_256_pixels_give_30x30_logits() -> None:
    image = torch.rand(1, 3, 256, 256)
    assert PatchGAN()(image, image).logits[0].shape == (1, 1, 30, 30)


@pytest.mark.parametrize(("n_layers", "field"), [(1, 16), (2, 34), (3, 70), (5, 286)])
def test_a_logit_sees_a_patch_of_the_published_size(n_layers: int, field: int) -> None:
    torch.manual_seed(0)
    discriminator = PatchGAN(n_layers=n_layers, width=2, norm="none")
    side = 2 * field + 34
    image = torch.rand(1, 3, side, side, requires_grad=True)
    logits = discriminator(image, image).logits[0]
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    assert image.grad is not None
    seen = image.grad[0].abs().sum(0).nonzero()
    extent = (seen.max(0).values - seen.min(0).values + 1).tolist()
    assert extent == [field, field]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="n_layers is 0"):
        PatchGAN(n_layers=0)
    with pytest.raises(ValueError, match="unknown norm 'layer'"):
        PatchGAN(norm="layer")  # type: ignore[arg-type]
