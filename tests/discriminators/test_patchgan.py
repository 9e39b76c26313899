"""PatchGAN against the published architecture."""

import pytest
import torch

from deblurlab.discriminators import PatchGAN
from deblurlab.models.cost import count_parameters


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({}, 2_764_737),
        ({"norm": "batch"}, 2_765_633),
        ({"conditional": True}, 2_767_809),
        ({"conditional": True, "norm": "batch"}, 2_768_705),
        ({"norm": "spectral"}, 2_764_737),
        ({"n_layers": 5}, 11_154_369),
    ],
)
def test_parameter_counts_are_the_published_ones(arguments: dict[str, object], count: int) -> None:
    assert count_parameters(PatchGAN(**arguments)) == count  # type: ignore[arg-type]


@pytest.mark.parametrize(("padding", "side"), [(1, 30), (2, 35)], ids=["pix2pix", "DeblurGAN"])
def test_number_of_logits_for_256_pixels(padding: int, side: int) -> None:
    image = torch.rand(1, 3, 256, 256)
    assert PatchGAN(padding=padding)(image, image).logits[0].shape == (1, 1, side, side)


@pytest.mark.parametrize("n_layers", range(1, 7))
def test_minimum_size_gives_one_logit_for_any_number_of_layers(n_layers: int) -> None:
    discriminator = PatchGAN(n_layers=n_layers, width=2)
    image = torch.rand(1, 3, discriminator.min_size, discriminator.min_size)
    assert discriminator(image, image).logits[0].shape == (1, 1, 1, 1)


def test_only_a_conditional_discriminator_uses_the_blurred_image() -> None:
    image, blurred, other = torch.rand(3, 1, 3, 64, 64)
    for conditional in (False, True):
        discriminator = PatchGAN(width=4, conditional=conditional)
        same = torch.equal(discriminator(image, blurred).logits[0], discriminator(image, other).logits[0])
        assert same is not conditional


def test_spectral_norm_bounds_every_layer() -> None:
    torch.manual_seed(0)
    discriminator = PatchGAN(width=4, norm="spectral")
    image = torch.rand(1, 3, 64, 64)
    for _ in range(50):  # one power iteration per forward pass
        discriminator(image, image)
    for stage in discriminator.eval().stages:
        assert torch.linalg.matrix_norm(stage[0].weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("n_layers", "field"), [(1, 16), (2, 34), (3, 70), (5, 286)])
def test_receptive_field_of_a_logit_is_the_published_one(n_layers: int, field: int) -> None:
    torch.manual_seed(0)
    discriminator = PatchGAN(n_layers=n_layers, width=2, norm="none")
    side = 2 * field + 34
    image = torch.rand(1, 3, side, side, requires_grad=True)
    logits = discriminator(image, image).logits[0]
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    assert image.grad is not None
    receptive_field = image.grad[0].abs().sum(0).nonzero()
    extent = (receptive_field.max(0).values - receptive_field.min(0).values + 1).tolist()
    assert extent == [field, field]


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="n_layers=0 must be at least 1 and padding=1"):
        PatchGAN(n_layers=0)
    with pytest.raises(ValueError, match="unknown norm 'layer'"):
        PatchGAN(norm="layer")  # type: ignore[arg-type]
