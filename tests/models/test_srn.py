"""SRN and its convolutional LSTM."""

import torch

from deblurlab.models import SRN
from deblurlab.models.cost import count_parameters
from deblurlab.models.srn import ConvLSTM


def test_srn_lstm_parameter_count() -> None:
    assert count_parameters(SRN(recurrent=True)) - count_parameters(SRN(recurrent=False)) == 1_180_160


def test_conv_lstm_equals_the_equations() -> None:
    """One channel, one pixel; only the weight of the input at the kernel's centre is not zero."""
    cell = ConvLSTM(1).double()
    torch.nn.init.zeros_(cell.gates.weight)
    with torch.no_grad():
        cell.gates.weight[:, 0, 1, 1] = torch.tensor([1.0, 2.0, -1.0, 0.5], dtype=torch.float64)
        cell.gates.bias.zero_()
    x, memory = torch.tensor(0.3).double(), torch.tensor(0.7).double()
    state = (torch.zeros(1, 1, 1, 1).double(), memory.view(1, 1, 1, 1))
    hidden, (_, new_memory) = cell(x.view(1, 1, 1, 1), state)
    expected = torch.sigmoid(1 - x) * memory + torch.sigmoid(x) * torch.tanh(2 * x)
    torch.testing.assert_close(new_memory.flatten()[0], expected)
    torch.testing.assert_close(hidden.flatten()[0], torch.sigmoid(x / 2) * torch.tanh(expected))


def test_srn_scales_exchange_no_gradient_through_restored_images() -> None:
    torch.manual_seed(0)
    model = SRN(width=4, blocks=1, recurrent=False).train()
    grads = []
    for count in (1, 3):
        model.zero_grad()
        restored = model(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
        restored[0].sum().backward() if count == 1 else restored[-1].sum().backward()
        grads.append(model.head.bias.grad.clone())
    assert grads[0].tolist() == [64.0] * 3  # 8 x 8 pixels
    assert grads[1].tolist() == [1024.0] * 3  # 32 x 32 pixels; none from the coarser scales
