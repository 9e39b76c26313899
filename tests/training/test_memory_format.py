"""Memory formats of networks, and optimizers that depend on them."""

import pytest
import torch
from torch import Tensor, nn

from deblurlab.discriminators import PatchGAN
from deblurlab.models import ResNet, UNetRes
from deblurlab.training.memory_format import choose_memory_format
from deblurlab.training.optimizers import prepare_optimizer
from steps import fit, module

CPU, GPU = torch.device("cpu"), torch.device("cuda")
WITHOUT_NORM, WITH_NORM = UNetRes(width=4, depth=1, blocks=1), ResNet(width=4, blocks=1)


@pytest.mark.parametrize(
    ("network", "setting", "device", "precision", "channels_last"),
    [
        (WITH_NORM, "auto", CPU, "32-true", False),
        (WITH_NORM, "auto", CPU, "bf16-mixed", True),
        (WITH_NORM, "auto", GPU, "32-true", True),
        (WITHOUT_NORM, "auto", CPU, "32-true", True),
        (WITH_NORM, True, CPU, "32-true", True),
        (WITHOUT_NORM, False, GPU, "bf16-mixed", False),
    ],
)
def test_auto_is_contiguous_for_instance_norm_on_cpus_in_float32_only(
    network: nn.Module, setting: bool, device: torch.device, precision: str, channels_last: bool
) -> None:
    chosen = choose_memory_format(network, setting, device=device, precision=precision)
    assert chosen == (torch.channels_last if channels_last else torch.contiguous_format)


def test_each_network_has_its_own_format_and_receives_its_images_in_it() -> None:
    trained = module(discriminator=PatchGAN(n_layers=1, width=4, norm="instance"))
    first_layers = trained.generator.stem, trained.discriminator.stages[0]
    received: dict[nn.Module, set[tuple[int, ...]]] = {layer: set() for layer in first_layers}

    def record(layer: nn.Module, images: tuple[Tensor, ...]) -> None:
        received[layer] |= {image.stride() for image in images}

    for layer in first_layers:
        layer.register_forward_pre_hook(record)
    fit(trained, 2)
    last, contiguous = (3 * 32 * 32, 1, 3 * 32, 3), (3 * 32 * 32, 32 * 32, 32, 1)
    assert trained.generator.stem.weight.is_contiguous(memory_format=torch.channels_last)
    assert received == {first_layers[0]: {last}, first_layers[1]: {contiguous}}


def _adam_by_hand(parameter: Tensor, gradients: list[Tensor]) -> Tensor:
    """Adam of lr 0.1, betas 0.9 and 0.999 (Kingma and Ba, ICLR 2015, algorithm 1), in float64."""
    value, mean, square = parameter.double(), torch.zeros(()), torch.zeros(())
    for t, gradient in enumerate((g.double() for g in gradients), start=1):
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        value = value - 0.1 * (mean / (1 - 0.9**t)) / ((square / (1 - 0.999**t)).sqrt() + 1e-8)
    return value


@pytest.mark.parametrize("saved", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("loaded", [torch.contiguous_format, torch.channels_last])
def test_adam_resumes_from_a_state_of_another_memory_format(
    saved: torch.memory_format, loaded: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(0)
    start, *gradients = (torch.randn(8, 4, 3, 3, generator=generator) for _ in range(4))

    def adam(value: Tensor, memory_format: torch.memory_format) -> tuple[nn.Parameter, torch.optim.Optimizer]:
        parameter = nn.Parameter(value.clone(memory_format=memory_format))
        optimizer = torch.optim.Adam([parameter], lr=0.1, betas=(0.9, 0.999))
        prepare_optimizer(optimizer)
        assert optimizer.param_groups[0]["fused"]
        return parameter, optimizer

    def step(parameter: nn.Parameter, optimizer: torch.optim.Optimizer, gradient: Tensor) -> None:
        parameter.grad = torch.empty_like(parameter).copy_(gradient)
        optimizer.step()

    parameter, optimizer = adam(start, saved)
    step(parameter, optimizer, gradients[0])
    resumed, other = adam(parameter.detach(), loaded)
    other.load_state_dict(optimizer.state_dict())
    for gradient in gradients[1:]:
        step(resumed, other, gradient)
    assert torch.allclose(resumed.detach().double(), _adam_by_hand(start, gradients), atol=1e-6)


def test_a_configured_implementation_is_kept() -> None:
    for options in ({"fused": False}, {"foreach": True}):
        optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(2))], **options)
        prepare_optimizer(optimizer)
        assert not optimizer.param_groups[0]["fused"]
