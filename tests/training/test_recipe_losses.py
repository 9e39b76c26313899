"""Content losses and critics of the published recipes against the formulas of the original codes."""

import functools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.transform import pyramid_gaussian
from torch import Tensor, nn
from torchvision.models import vgg19

from deblurlab.config import instantiate
from deblurlab.discriminators import DiscriminatorOutput
from deblurlab.losses import AdversarialLoss
from deblurlab.models.cost import count_parameters
from deblurlab.training import Restoration
from deblurlab.training.build import build
from deblurlab.training.multiscale import downsample
from support import config, small

Scales = list[Tensor]
"""Restored images, coarse to fine."""


@functools.cache
def _module(recipe: str) -> Restoration:
    chosen = f"experiment={recipe}"
    return build(config(chosen, *small(chosen), "pretrained=random"))


def _images(recipe: str) -> tuple[Scales, Tensor]:
    """Return restored images at three scales, or at one, and sharp ones, `(2, 3, 32, 32)` in [0, 1]."""
    random = torch.Generator().manual_seed(1)
    factors = (4, 2, 1) if recipe in ("deepdeblur", "srn", "mimo_unet", "mimo_unet_plus") else (1,)
    restored = [torch.rand(2, 3, 32 // n, 32 // n, generator=random) for n in factors]
    return restored, torch.rand(2, 3, 32, 32, generator=random)


def _content_loss(recipe: str, restored: Scales, sharp: Tensor) -> float:
    """Return our weighted sum of the terms that compare images."""
    trained = _module(recipe)
    names = [name for name, term in trained.terms.items() if not isinstance(term, AdversarialLoss)]
    terms = trained.evaluate_terms(names, restored, sharp, blurred=sharp)
    return sum(weight * value.item() for weight, value in terms.values())


def _mimo_unet(restored: Scales, sharp: Tensor) -> float:
    """L1 plus 0.1 times L1 of the unscaled Fourier transform's parts; targets are interpolated by the factor."""
    total = 0.0
    for image, factor in zip(restored, (0.25, 0.5, 1.0), strict=True):
        target = sharp if factor == 1 else nn.functional.interpolate(sharp, scale_factor=factor, mode="bilinear")
        spectrum = np.fft.fft2((image - target).double().numpy())
        total += (image - target).abs().mean().item() + 0.1 * np.abs([spectrum.real, spectrum.imag]).mean()
    return total


def _deepdeblur(restored: Scales, sharp: Tensor) -> float:
    """L1 of 0..255 over a Gaussian pyramid; ours is for 0..1, whose gradients Adam scales alike."""
    total = 0.0
    for i, image in enumerate(sharp.double().permute(0, 2, 3, 1).numpy()):
        levels = pyramid_gaussian(255 * image, max_layer=2, channel_axis=-1)
        outputs = [255 * scale[i].double().permute(1, 2, 0).numpy() for scale in reversed(restored)]
        total += sum(float(np.abs(x - y).mean()) for x, y in zip(outputs, levels, strict=True))
    return total / len(sharp) / 255


def _srn(restored: Scales, sharp: Tensor) -> float:
    """Sum of mean squared errors; TensorFlow 1 places the coarse pixel i at i times the factor."""
    return sum((x - sharp[..., ::n, ::n]).square().mean().item() for x, n in zip(restored, (4, 2, 1), strict=True))


def _conv3_3(recipe: str) -> nn.Module:
    """Return layers 0 to 14 of torchvision's network, with the weights of the recipe's term."""
    with torch.device("meta"):
        layers = vgg19(weights=None).features[:15]
    assert isinstance(layers[14], nn.Conv2d)
    layers.to_empty(device="cpu").load_state_dict(_module(recipe).terms["vgg"].features.state_dict())  # type: ignore[union-attr]
    return layers


def _deblurgan(restored: Scales, sharp: Tensor) -> float:
    """100 times MSE of conv3_3 for images in [-1, 1]."""
    conv3_3, (fake,), real = _conv3_3("deblurgan"), [2 * x - 1 for x in restored], 2 * sharp - 1
    return 100 * nn.MSELoss()(conv3_3(fake), conv3_3(real)).item()


def _normalised(image: Tensor) -> Tensor:
    return (image - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )


def _deblurgan_v2(restored: Scales, sharp: Tensor) -> float:
    """0.006 times MSE of conv3_3 plus 0.5 times MSE, both of images normalised for ImageNet."""
    conv3_3, mse = _conv3_3("deblurgan_v2"), nn.MSELoss()
    fake, real = _normalised(restored[-1]), _normalised(sharp)
    return (0.006 * mse(conv3_3(fake), conv3_3(real)) + 0.5 * mse(fake, real)).item()


def _nafnet(restored: Scales, sharp: Tensor) -> float:
    """10 / ln 10 · mean(ln(MSE + 1e-8)); ours is 80 dB higher, so that it is 0 for equal images."""
    mse = (restored[-1] - sharp).double().square().mean(dim=(1, 2, 3))
    return 10 / math.log(10) * (mse + 1e-8).log().mean().item() + 80


def _restormer(restored: Scales, sharp: Tensor) -> float:
    return (restored[-1] - sharp).abs().mean().item()


ORIGINALS: dict[str, Callable[[Scales, Tensor], float]] = {
    "mimo_unet": _mimo_unet,
    "mimo_unet_plus": _mimo_unet,
    "deepdeblur": _deepdeblur,
    "srn": _srn,
    "deblurgan": _deblurgan,
    "nafnet_32": _nafnet,
    "nafnet_64": _nafnet,
    "restormer": _restormer,
}


@pytest.mark.parametrize("recipe", ORIGINALS)
def test_content_loss_of_a_recipe_is_that_of_the_original_code(recipe: str) -> None:
    restored, sharp = _images(recipe)
    assert _content_loss(recipe, restored, sharp) == pytest.approx(ORIGINALS[recipe](restored, sharp), rel=1e-5)


def test_content_loss_of_deblurgan_v2_is_that_of_its_code() -> None:
    """Its pixel term weighs channels by 1/std²; the recipe has the mean weight, which is exact for grey errors."""
    pytest.importorskip("timm")
    (restored,), sharp = _images("deblurgan_v2")
    assert _content_loss("deblurgan_v2", [restored], sharp) == pytest.approx(_deblurgan_v2([restored], sharp), rel=0.03)
    grey = sharp + 0.1 * restored[:, :1]
    assert _content_loss("deblurgan_v2", [grey], sharp) == pytest.approx(_deblurgan_v2([grey], sharp), rel=1e-4)


@pytest.mark.parametrize("recipe", ["deepdeblur", "srn"])
def test_the_network_sees_blurred_images_downsampled_like_its_targets(recipe: str) -> None:
    """Both codes resize blurred and sharp images alike; MIMO-UNet's takes every second pixel of blurred ones alone."""
    trained, seen = _module(recipe), []
    first = {"deepdeblur": lambda m: m.stems[2], "srn": lambda m: m.encoder[0]}[recipe](trained.generator)
    handle = first.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0][:, :3].detach()))
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        trained.generator(image)
    handle.remove()
    coarsest = seen[0] / 255 + 0.5 if recipe == "deepdeblur" else seen[0]
    expected = downsample(image, (8, 8), trained.settings.target_scales)
    torch.testing.assert_close(coarsest, expected, rtol=0, atol=1e-5)


def test_cycle_and_identity_losses_are_those_of_images_between_minus_1_and_1() -> None:
    trained, ((image,), target) = _module("cyclegan"), _images("cyclegan")
    distance = ((2 * image - 1) - (2 * target - 1)).abs().mean().item()
    terms = trained.evaluate_terms(["cycle", "identity"], [image], target, blurred=target)
    values = {name: weight * value.item() for name, (weight, value) in terms.items()}
    assert values == pytest.approx({"cycle": 10 * distance, "identity": 0.5 * 10 * distance})


def test_critic_of_deblurgan_sees_one_image() -> None:
    critic = instantiate(config("experiment=deblurgan").discriminator)
    assert count_parameters(critic) == 2_764_737  # PatchGAN of three channels; of six it has 3072 more
    image = torch.rand(1, 3, 256, 256)
    (logits,) = critic(image, torch.rand_like(image)).logits
    assert logits.shape == (1, 1, 35, 35)
    torch.testing.assert_close(critic(image, torch.rand_like(image)).logits[0], logits)


class Slope(nn.Module):
    """Critic with 35x35 equal logits, linear in the image."""

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        total = (2 * image - 1).sum(dim=(1, 2, 3)) / math.sqrt(3)
        return DiscriminatorOutput([(total / 35**2).view(-1, 1, 1, 1).expand(-1, 1, 35, 35)], [])


def test_slope_of_a_critic_that_meets_the_penalty_of_deblurgans_code() -> None:
    """It is 2 · 256 / 35² = 0.42 of the slope that the publication's penalty asks for."""
    image = torch.rand(1, 3, 256, 256)
    signed = (2 * image - 1).requires_grad_()
    logits = Slope()((signed + 1) / 2, image).logits[0]
    (gradient,) = torch.autograd.grad(logits, signed, torch.ones_like(logits))
    assert ((gradient.norm(2, dim=1) - 1) ** 2).mean().item() == pytest.approx(0, abs=1e-8)
    penalty = _module("deblurgan").terms["adv_wgan_gp"].penalty(Slope(), image, image, image)  # type: ignore[operator]
    assert penalty.item() == pytest.approx(10 * (2 * 256 / 35**2 - 1) ** 2, rel=1e-3)
    assert round(2 * 256 / 35**2, 2) == 0.42
