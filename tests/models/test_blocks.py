"""Instance norm and dropout, which choose their kernels themselves on CPUs, and batch norm of each image."""

import pytest
import torch
from torch import Tensor, nn

from deblurlab.models.blocks import Dropout, ImageBatchNorm2d, InstanceNorm2d


def _normalised(x: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance + 1e-5) of each channel of each image (Ulyanov et al., 2016, equation 2)."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    return (x - mean) / (((x - mean) ** 2).mean(dim=(2, 3), keepdim=True) + 1e-5).sqrt()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [1, 3])
def test_instance_norm_and_its_gradient(
    dtype: torch.dtype, tolerance: float, memory_format: torch.memory_format, batch: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    exact, weight = (torch.randn(batch, 5, 16, 12, generator=generator, dtype=torch.float64) for _ in range(2))
    exact = (3 * exact + 2).to(dtype).double().requires_grad_()
    x = exact.detach().to(dtype).to(memory_format=memory_format).requires_grad_()
    expected, result = _normalised(exact), InstanceNorm2d(5)(x)
    (expected * weight).sum().backward()
    (result.double() * weight).sum().backward()
    assert result.dtype == dtype
    assert (result.double() - expected).abs().max() < tolerance
    assert exact.grad is not None
    assert x.grad is not None
    assert (x.grad.double() - exact.grad).abs().max() < tolerance


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_zeroes_a_share_and_keeps_the_mean(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(100_000, dtype=dtype, requires_grad=True)
    y = Dropout(p)(x)
    y.sum().backward()
    scale = torch.tensor(1 / (1 - p), dtype=dtype)
    assert torch.isin(y, torch.stack([torch.zeros_like(scale), scale])).all()
    assert abs((y == 0).double().mean().item() - p) < 0.008  # five standard deviations
    assert torch.equal(x.grad, y.detach())
    assert torch.equal(Dropout(p).eval()(x), x)


def test_dropout_of_everything_is_zero() -> None:
    assert torch.equal(Dropout(1.0)(torch.ones(8)), torch.zeros(8))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_batch_norm_of_each_image_is_that_of_a_batch_of_one_in_training(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.BatchNorm2d(5, eps=1e-3)
    for tensor in (layer.weight, layer.bias, layer.running_mean):
        tensor.data.normal_(generator=generator)
    layer.to(dtype)
    by_image = ImageBatchNorm2d(layer).to(dtype).eval()
    before = {name: value.clone() for name, value in by_image.state_dict().items()}
    x = 3 * torch.randn(3, 5, 8, 6, generator=generator, dtype=dtype) + 2
    weight, bias = layer.weight.view(5, 1, 1), layer.bias.view(5, 1, 1)
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, correction=0)
    expected = (x - mean) / (variance + 1e-3).sqrt() * weight + bias
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(by_image(x), expected, rtol=tolerance, atol=tolerance)
    assert all(torch.equal(value, before[name]) for name, value in by_image.state_dict().items())
    assert torch.equal(by_image.train()(x), layer.train()(x))  # the statistics of the batch
    assert by_image.num_batches_tracked == 1
